// Package grpccredentials authorizes gRPC calls with the access tokens of an Innkeeper
// source. It is a module of its own, so that gRPC is in nobody's graph who does not use
// it.
//
//	creds, err := grpccredentials.New(source, "https://api.example.com")
//	conn, err := grpc.NewClient("api.example.com:443", append(creds.DialOptions(),
//		grpc.WithTransportCredentials(credentials.NewTLS(nil)))...)
//
// A token is sent over TLS only, and to the origins that were named. A call that the
// server refuses with UNAUTHENTICATED is made again with another token, once: a unary
// one, and a stream to which at most one message was sent. A stream of the client's is
// authorized when it is opened; its refusal is returned, and the next one has another
// token.
package grpccredentials

import (
	"context"
	"errors"
	"net/url"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/innkeeper-auth/innkeeper/client"
)

// Credentials authorize calls. They are [credentials.PerRPCCredentials], safe for
// concurrent use.
type Credentials struct {
	source  *client.Source
	origins client.Origins
}

// New returns credentials for calls to these origins: "https://api.example.com". It
// returns an error if one of them is not as required.
func New(source *client.Source, origins ...string) (*Credentials, error) {
	allowed, err := client.ParseOrigins(origins...)
	if err != nil {
		return nil, err
	}
	return &Credentials{source: source, origins: allowed}, nil
}

// DialOptions are the credentials, and the interceptors that make a refused call again.
func (c *Credentials) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithPerRPCCredentials(c),
		grpc.WithChainUnaryInterceptor(c.InterceptUnary),
		grpc.WithChainStreamInterceptor(c.InterceptStream),
	}
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (c *Credentials) RequireTransportSecurity() bool { return true }

// GetRequestMetadata implements [credentials.PerRPCCredentials]. A token that cannot be
// had for now is UNAVAILABLE, which callers may retry, and being signed out
// UNAUTHENTICATED, which they may not.
func (c *Credentials) GetRequestMetadata(ctx context.Context, audience ...string) (map[string]string, error) {
	info, ok := credentials.RequestInfoFromContext(ctx)
	if !ok || credentials.CheckSecurityLevel(info.AuthInfo, credentials.PrivacyAndIntegrity) != nil {
		return nil, status.Error(codes.Unauthenticated, "the connection is not private: the access token stays here")
	}
	if len(audience) == 0 {
		return nil, status.Error(codes.Unauthenticated, "the server is not known: the access token stays here")
	}
	for _, text := range audience {
		if u, err := url.Parse(text); err != nil || !c.origins.Allow(u) {
			return nil, status.Error(codes.Unauthenticated, "the server is not among the origins that were named: the access token stays here")
		}
	}
	token, err := c.source.Token(ctx)
	if err != nil {
		return nil, statusOf(err)
	}
	if shown, ok := ctx.Value(shownKey{}).(*shown); ok {
		shown.set(token)
	}
	return map[string]string{"authorization": "Bearer " + token.Access.Reveal()}, nil
}

// statusOf gives the status that a caller can act upon.
func statusOf(err error) error {
	switch {
	case errors.Is(err, client.ErrSignedOut), errors.Is(err, client.ErrUserChanged):
		return status.Error(codes.Unauthenticated, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}

type shownKey struct{}

// shown is the token that went with a call, for the interceptor that has made it.
type shown struct {
	mu    sync.Mutex
	token client.Token
}

func (s *shown) set(token client.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// refused returns the token that a server has refused with this error, if that is what
// it means. One that never left was refused by nobody.
func (s *shown) refused(err error) (client.Token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, status.Code(err) == codes.Unauthenticated && !s.token.Access.IsZero()
}

// another gets a token in place of a refused one. It must speak for the same person.
func (c *Credentials) another(ctx context.Context, refused client.Token) bool {
	token, err := c.source.Refresh(ctx, refused)
	return err == nil && token.UserID == refused.UserID
}

// InterceptUnary is a [grpc.UnaryClientInterceptor].
func (c *Credentials) InterceptUnary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	with := &shown{}
	err := invoke(context.WithValue(ctx, shownKey{}, with), method, req, reply, conn, options...)
	if token, refused := with.refused(err); refused && c.another(ctx, token) {
		return invoke(ctx, method, req, reply, conn, options...)
	}
	return err
}
