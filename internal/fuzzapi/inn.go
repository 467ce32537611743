package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

// inn is a server with all that there can be in it.
type inn struct {
	authority *innkeeper.Authority
	stores    innkeeper.Stores
	api       *httpapi.API
	addr      string // of the server that listens
	log       *faults
	now       atomic.Int64 // its time, in microseconds: it stands still unless it is moved

	undo []func()
}

const (
	issuer = "http://inn.example"
	app    = "https://app.example" // an origin that is allowed
)

// openInn opens an inn in memory or in a file, with limits on guessing or without.
func openInn(ctx context.Context, inFile bool, limits innkeeper.SignInLimits) (_ *inn, err error) {
	i := &inn{log: new(faults)}
	defer func() {
		if err != nil {
			i.close()
		}
	}()
	i.now.Store(time.Now().UnixMicro())
	i.stores = memory.New().Stores()
	if inFile {
		if err := i.openFile(ctx); err != nil {
			return nil, err
		}
	}
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		return nil, err
	}
	i.authority, err = innkeeper.Open(ctx, innkeeper.Config{
		Issuer: issuer, Stores: i.stores, RootKeys: roots, SignupOpen: true, SignInLimits: limits,
		Clock: func() time.Time { return time.UnixMicro(i.now.Load()) },
		Passwords: password.Config{ // what is tried here are requests, not hashes
			InsecureWeakParams: true, Params: password.Params{Memory: 8, Iterations: 1, Parallelism: 1},
		},
	})
	if err != nil {
		return nil, err
	}
	i.api, err = httpapi.New(httpapi.Config{
		Authority: i.authority, Version: "fuzz", AllowedOrigins: []string{app}, Logger: slog.New(i.log),
	})
	if err != nil {
		return nil, err
	}
	return i, i.serve(ctx)
}

func (i *inn) openFile(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "fuzzapi-")
	if err != nil {
		return err
	}
	i.undo = append(i.undo, func() { _ = os.RemoveAll(dir) })
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "inn.db")})
	if err != nil {
		return err
	}
	i.undo = append(i.undo, func() { _ = store.Close() })
	i.stores = store.Stores()
	return nil
}

// serve listens, follows the revocation feed, and waits until that has been read.
func (i *inn) serve(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	i.addr = listener.Addr().String()
	server := httpapi.NewServer(i.addr, i.api)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var over sync.WaitGroup
	over.Go(func() { i.authority.Run(ctx) })
	over.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			i.log.add("serve: " + err.Error())
		}
	})
	i.undo = append(i.undo, func() {
		cancel()
		_ = server.Close()
		over.Wait()
	})
	_, err = i.authority.Revocations(ctx, 0, time.Minute)
	return err
}

func (i *inn) close() {
	for n := len(i.undo) - 1; n >= 0; n-- {
		i.undo[n]()
	}
}

func (i *inn) advance(d time.Duration) { i.now.Add(d.Microseconds()) }

// faults is a log that keeps what should not be in it.
type faults struct {
	mu    sync.Mutex
	lines []string
}

func (f *faults) add(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, line)
}

// take returns what was logged since the last call.
func (f *faults) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := f.lines
	f.lines = nil
	return lines
}

// Enabled implements [slog.Handler].
func (f *faults) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

// Handle implements [slog.Handler].
func (f *faults) Handle(_ context.Context, record slog.Record) error {
	line := record.Message
	record.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	f.add(line)
	return nil
}

// WithAttrs implements [slog.Handler].
func (f *faults) WithAttrs([]slog.Attr) slog.Handler { return f }

// WithGroup implements [slog.Handler].
func (f *faults) WithGroup(string) slog.Handler { return f }

// dice make all choices.
type dice struct{ *rand.Rand }

// percent is true so many times out of a hundred.
func (d dice) percent(n int) bool { return d.IntN(100) < n }

// pick returns one of several; the zero value of none.
func pick[T any](d dice, items []T) T {
	if len(items) == 0 {
		var none T
		return none
	}
	return items[d.IntN(len(items))]
}

// bag holds things to choose from, by kind, and forgets some when there are many.
type bag map[string][]string

const bagSize = 48

func (b bag) put(d dice, kind, thing string) {
	if thing == "" {
		return
	}
	if len(b[kind]) < bagSize {
		b[kind] = append(b[kind], thing)
		return
	}
	b[kind][d.IntN(bagSize)] = thing
}

// forget leaves only the latest of each kind. What is dead is worth trying; most of what
// there is should be alive.
func (b bag) forget(but int) {
	for kind, things := range b {
		if len(things) > but {
			b[kind] = append([]string(nil), things[len(things)-but:]...)
		}
	}
}
