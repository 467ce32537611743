// Package innkeeper keeps people signed in to your own apps without leaving a
// stolen credential dangerous. It is the domain of Innkeeper: what sessions are,
// when a refresh token is honored, and what ends them.
//
// # The nouns
//
//   - A [User] signs in with a password and has roles; a [Role] gives permissions.
//   - A [Session] is one sign-in on one device, and one row for its whole life.
//   - An access token is a JWT of a few minutes that any API verifies offline; see
//     packages accesstoken and verify.
//   - A [RefreshToken] is opaque, lives for days and is used once: each use gives
//     the next [Session.Generation].
//   - An [IdempotencyKey] is what an honest client makes before it refreshes, and
//     what a thief does not have.
//   - An [Epoch] is what all of a user's sessions have in common; replacing it ends
//     them all with one write.
//   - A [Revocation] tells verifiers what no longer opens doors; an [Event] tells
//     people what happened.
//
// # Use
//
// [Open] gives an [Authority] over [Stores]; it is all that package httpapi and
// the command line call:
//
//	authority, err := innkeeper.Open(ctx, innkeeper.Config{
//		Issuer:   "https://auth.example.com",
//		Stores:   store.Stores(),
//		RootKeys: roots,
//		Clock:    time.Now,
//	})
//	grant, err := authority.Login(ctx, innkeeper.LoginRequest{ … })
//	grant, err = authority.Refresh(ctx, innkeeper.RefreshRequest{ … })
//
// To protect an API that accepts the access tokens, use package verify. To test
// one, use package innkeepertest.
//
// # What it refuses to do
//
// A refresh costs one conditional write, with no read before it, and no row is
// ever added by one. What becomes of a token that is not the current one is
// decided by a pure function, [Decide]; docs/refresh.md explains its table.
// Nothing here reads the clock by itself, logs, or knows HTTP or SQL. A dependency
// that does not answer is [ErrUnavailable] and never a sign-out.
//
// # What stays compatible
//
// The text of refresh tokens, the claims of access tokens and the derivations
// from the root key are fixed for version 1: a newer server honors what an older
// one has minted.
package innkeeper
