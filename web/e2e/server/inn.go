package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// plan is what a test asks of an inn. Its zero value is what most ask for.
type plan struct {
	AccessTTL duration `json:"access_ttl"` // zero: 15 minutes
	// Secure puts Innkeeper on https://auth.inn.localhost and lets pages of
	// https://app.inn.localhost call it. False: http://localhost.
	Secure bool `json:"secure"`
	// HTTP1 keeps https to HTTP/1.1.
	HTTP1 bool `json:"http1"`
}

// inn is an Innkeeper, an app with an API, and a stranger next door.
type inn struct {
	ID       string `json:"id"`
	URL      string `json:"url"`      // of Innkeeper, the API and the pages
	App      string `json:"app"`      // the same under another host, if Secure
	Stranger string `json:"stranger"` // an origin that nobody trusts

	plan   plan
	dir    string
	clock  clock
	ledger ledger
	faults faults
	desk   *desk
	closes []func() // in the order of opening
}

func openInn(ctx context.Context, id, dir string, ca *certificateAuthority, p plan) (*inn, error) {
	i := &inn{ID: id, plan: p, dir: filepath.Join(dir, id), ledger: ledger{successors: map[string]string{}}}
	if err := i.open(ctx, ca); err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

// close stops everything in the reverse order.
func (i *inn) close() {
	i.faults.set(nil)
	i.faults.release(true)
	for n := len(i.closes) - 1; n >= 0; n-- {
		i.closes[n]()
	}
	i.closes = nil
}

func (i *inn) onClose(f func()) { i.closes = append(i.closes, f) }

func (i *inn) open(ctx context.Context, ca *certificateAuthority) error {
	if err := os.Mkdir(i.dir, 0o700); err != nil {
		return err
	}
	i.onClose(func() { _ = os.RemoveAll(i.dir) })
	door, port, err := i.listen(ctx)
	if err != nil {
		return err
	}
	strangers, strangersPort, err := i.listen(ctx)
	if err != nil {
		return err
	}
	i.URL = "http://localhost:" + port
	i.Stranger = "http://127.0.0.1:" + strangersPort
	if i.plan.Secure {
		i.URL = "https://auth.inn.localhost:" + port
		i.App = "https://app.inn.localhost:" + port
	}
	handler, err := i.handler(ctx, ca.client(door.Addr()))
	if err != nil {
		return err
	}
	i.serve(strangers, nextDoor(&i.ledger), nil)
	if i.plan.Secure {
		i.serve(door, handler, ca.server())
	} else {
		i.serve(door, handler, nil)
	}
	return nil
}

func (i *inn) listen(ctx context.Context) (l net.Listener, port string, err error) {
	l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	i.onClose(func() { _ = l.Close() })
	_, port, err = net.SplitHostPort(l.Addr().String())
	return l, port, err
}

// handler sets up all that is behind the app's door. The API reaches Innkeeper with
// the client.
func (i *inn) handler(ctx context.Context, client *http.Client) (http.Handler, error) {
	authority, err := i.authority(ctx)
	if err != nil {
		return nil, err
	}
	config := httpapi.Config{Authority: authority}
	if i.App != "" {
		config.AllowedOrigins = []string{i.App}
	}
	front, err := httpapi.New(config)
	if err != nil {
		return nil, err
	}
	verifier, err := verify.New(verify.Config{
		Issuer: i.URL, Now: i.clock.now, Skew: verify.NoSkew, // both read one clock
		FollowRevocations: true, HTTPClient: client,
	})
	if err != nil {
		return nil, err
	}
	i.onClose(verifier.Close)

	i.desk = &desk{api: front, ledger: &i.ledger, faults: &i.faults}
	mux := http.NewServeMux()
	mux.Handle("/", front)
	mux.Handle("POST /auth/", i.desk)
	(&api{verifier: verifier, ledger: &i.ledger}).routes(mux)
	site(mux)
	return mux, nil
}

// authority opens Innkeeper over a SQLite file of its own.
func (i *inn) authority(ctx context.Context) (*innkeeper.Authority, error) {
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(i.dir, "innkeeper.db")})
	if err != nil {
		return nil, err
	}
	i.onClose(func() { _ = store.Close() })
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		return nil, err
	}
	authority, err := innkeeper.Open(ctx, innkeeper.Config{
		Issuer: i.URL, Stores: store.Stores(), RootKeys: roots, Clock: i.clock.now, SignupOpen: true,
		Policy: innkeeper.Policy{AccessTTL: time.Duration(i.plan.AccessTTL)}, Observe: i.ledger.observe,
		// Browsers of tests do in seconds what people do in days, and from one address.
		SignInLimits: innkeeper.InsecureLimitNothing, RefreshLimit: -1,
	})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() { authority.Run(running) })
	i.onClose(func() {
		stop()
		over.Wait()
	})
	_, err = authority.Revocations(ctx, 0, 10*time.Second) // the first reading
	return authority, err
}

func (i *inn) serve(l net.Listener, handler http.Handler, encryption *tls.Config) {
	web := httpapi.NewServer("", handler)
	web.ReadTimeout, web.WriteTimeout = 0, 0 // faults hold answers for longer than a server would
	web.TLSConfig = encryption
	web.Protocols = new(http.Protocols)
	web.Protocols.SetHTTP1(true)
	web.Protocols.SetHTTP2(!i.plan.HTTP1) // over TLS only
	i.onClose(func() { _ = web.Close() })
	serve(web, l)
}

// serve serves in the background until the server is closed.
func serve(web *http.Server, l net.Listener) {
	go func() {
		var err error
		if web.TLSConfig != nil {
			err = web.ServeTLS(l, "", "")
		} else {
			err = web.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "server:", err)
		}
	}()
}
