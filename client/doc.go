// Package client keeps a Go program signed in.
//
//	source, err := client.New(client.Config{
//		Server: "https://auth.example.com",
//		Store:  store, // client.NewFileStore(path), or client.NewMemoryStore()
//	})
//	err = source.Login(ctx, client.Credentials{Username: "ada", Password: password})
//	api, err := source.HTTPClient("https://api.example.com")
//	resp, err := api.Get("https://api.example.com/mail")
//
// A [Source] hands out access tokens and refreshes them before they expire. A
// [Transport] puts them into requests to the origins that were named and to no other,
// and sends a request again, once, if the API has refused its token. A [Store] keeps
// the session between two runs of the program, and between processes that run at the
// same time.
//
// Nested modules adapt a source to other libraries: client/oauthsource for
// golang.org/x/oauth2, client/grpccredentials for gRPC, client/keychain for the
// keychain of the operating system.
//
// What it takes care of, so that no honest program is ever signed out:
//
//   - One refresh at a time, whoever asks: goroutines share a flight, which outlives
//     them, and processes share the lock of the store.
//   - A lost answer is asked for again with the same idempotency key, which was stored
//     before the first request left.
//   - A refresh token is stored before it is used.
//   - Only the codes by which the server says that a session is over end it, and only
//     if the store has not moved meanwhile. Anything else is [ErrUnavailable]: try
//     again later.
//
// Tokens are of type [Secret], which prints as "[redacted]".
package client
