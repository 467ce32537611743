// Package demo is the server behind `innkeeper demo`: a real authority, a toy
// API that verifies its tokens, a page that shows how the two play together,
// and a thief.
//
//	handler, authority, err := demo.New(ctx, demo.Config{
//		Issuer: "http://localhost:8080", Stores: stores, RootKeys: roots, Clock: time.Now,
//	})
//	go authority.Run(ctx)
//
// Sign-in, refresh, sessions and keys are the real thing, from package httpapi,
// and the toy API asks package verify, which fetches the keys from the issuer
// over HTTP. What exists here only is on /api/mail and under /auth/demo/:
//
//	GET  /api/mail                       the toy API; needs the permission mail:read
//	POST /auth/demo/lose-next-answer     act on the next refresh, then cut the connection
//	POST /auth/demo/thief/copy           the thief copies the refresh cookie
//	POST /auth/demo/thief/use            the thief presents its copy
//
// They are under /auth because the refresh cookie is sent nowhere else. All that
// they remember is bounded and dies with the process.
//
// The password of the sample user is public: MUST NOT be run over a store that
// holds real users, or on an address that strangers reach.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// The sample user. The page fills their name and password in.
const (
	Username = "ada"
	Password = "analytical-engine"
)

// AccessTTL is the life of an access token here: short enough to watch it end.
const AccessTTL = 15 * time.Second

const (
	sampleRole     = "guest"
	mailPermission = "mail:read"
)

// Config is what it takes to make the demo.
type Config struct {
	// Issuer is the URL under which the handler will be reached, by browsers and by
	// its own toy API: "http://localhost:8080". Required.
	Issuer string
	// Stores hold everything. Required, every one of them.
	Stores innkeeper.Stores
	// RootKeys is the secret that lives outside the stores. Required.
	RootKeys rootkey.Ring
	// Clock tells the time. Required: time.Now, or a clock that a test moves.
	Clock func() time.Time
	// Logger receives failures. The zero value discards them.
	Logger *slog.Logger
	// Observe sees every event. The zero value sees none.
	Observe func(ctx context.Context, event innkeeper.Event)
}

// New sets up an authority with the sample user and returns it and everything that
// the demo serves. The caller lets the authority run. The context bounds the setting
// up.
func New(ctx context.Context, cfg Config) (http.Handler, *innkeeper.Authority, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	authority, err := openAuthority(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	handler, err := newHandler(cfg, authority)
	return handler, authority, err
}

func newHandler(cfg Config, authority *innkeeper.Authority) (http.Handler, error) {
	desk, err := httpapi.New(httpapi.Config{Authority: authority, Version: "demo", Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	verifier, err := verify.New(verify.Config{
		Issuer: cfg.Issuer,
		Now:    cfg.Clock,
		Logger: cfg.Logger,
		// The usual 30 s of allowance would let a key card of 15 s live for 45. Issuer
		// and API share one clock here.
		Skew: verify.NoSkew,
	})
	if err != nil {
		return nil, err
	}
	files, err := newPage()
	if err != nil {
		return nil, err
	}

	mail := verifier.RequirePermission(mailPermission, http.HandlerFunc(serveMail))
	wire := newLine(desk, cfg.RootKeys, cfg.Clock)
	thief := newThief(desk, mail, cfg.RootKeys)
	own := http.NewCrossOriginProtection() // as the real endpoints have it

	mux := http.NewServeMux()
	mux.Handle("GET /api/mail", mail)
	mux.Handle("POST /auth/demo/lose-next-answer", own.Handler(http.HandlerFunc(wire.loseNextAnswer)))
	mux.Handle("POST /auth/demo/thief/copy", own.Handler(http.HandlerFunc(thief.copyCookie)))
	mux.Handle("POST /auth/demo/thief/use", own.Handler(http.HandlerFunc(thief.useCookie)))
	files.register(mux)
	mux.Handle("/", wire)
	return withHeaders(mux), nil
}

// openAuthority opens the store and makes sure that the sample user is there.
func openAuthority(ctx context.Context, cfg Config) (*innkeeper.Authority, error) {
	authority, err := innkeeper.Open(ctx, innkeeper.Config{
		Issuer:   cfg.Issuer,
		Stores:   cfg.Stores,
		RootKeys: cfg.RootKeys,
		Clock:    cfg.Clock,
		Policy:   innkeeper.Policy{AccessTTL: AccessTTL},
		Observe:  cfg.Observe,
	})
	if err != nil {
		return nil, err
	}
	role := innkeeper.Role{Name: sampleRole, Permissions: []string{mailPermission}}
	if err := authority.SetRole(ctx, role, innkeeper.ActorOperator); err != nil {
		return nil, fmt.Errorf("set sample role: %w", err)
	}
	_, err = authority.CreateUser(ctx, innkeeper.NewUser{
		Username: Username, Password: Password, Email: Username + "@example.com", Roles: []string{sampleRole},
	}, innkeeper.ActorOperator)
	if err != nil && !errors.Is(err, innkeeper.ErrUsernameTaken) { // it is there from the last time
		return nil, fmt.Errorf("create sample user: %w", err)
	}
	return authority, nil
}
