// Package oauthsource lets libraries that want a [oauth2.TokenSource] take access tokens
// from an Innkeeper source. It is a module of its own, so that golang.org/x/oauth2 is in
// nobody's graph who does not use it.
//
//	storage.NewClient(ctx, option.WithTokenSource(oauthsource.New(ctx, source)))
//
// To call APIs yourself take [client.Transport] instead of [oauth2.Transport], which sends
// a token wherever a redirect leads, and does nothing about one that is refused.
package oauthsource

import (
	"context"

	"golang.org/x/oauth2"

	"github.com/innkeeper-auth/innkeeper/client"
)

// New returns a token source. Its Token waits no longer than ctx lasts, as there is no
// other context, and returns the errors of [client.Source.Token]. Do not wrap it into
// [oauth2.ReuseTokenSource]: the source below keeps tokens itself, and knows when one was
// refused.
func New(ctx context.Context, source *client.Source) oauth2.TokenSource {
	return tokenSource{ctx: ctx, source: source}
}

type tokenSource struct {
	ctx    context.Context // the interface has no place for it
	source *client.Source
}

// Token implements [oauth2.TokenSource]. There never is a refresh token in it.
func (t tokenSource) Token() (*oauth2.Token, error) {
	token, err := t.source.Token(t.ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: token.Access.Reveal(), TokenType: "Bearer", Expiry: token.ExpiresAt}, nil
}
