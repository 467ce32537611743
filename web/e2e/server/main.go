// Command server is what the browser tests run against. It opens inns on demand:
// each is a real Innkeeper over SQLite with an app, an API and a stranger beside it,
// a clock that is moved, a ledger of what reached it, and the faults that only a
// server can make. Tests that have an inn of their own do not disturb each other.
//
// It prints {"control": URL, "spki": HASH} on standard output and serves until
// standard input closes. README.md lists the controls. The hash is of the
// certificate authority that signs for every inn's https, as Chromium's switch
// --ignore-certificate-errors-spki-list wants it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "innkeeper-e2e-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ca, err := newCertificateAuthority(time.Now())
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c := &control{ca: ca, dir: dir, inns: map[string]*inn{}}
	defer c.close()
	web := &http.Server{Handler: c.handler(), ReadHeaderTimeout: 5 * time.Second}
	serve(web, listener)
	defer func() { _ = web.Close() }()

	err = json.NewEncoder(os.Stdout).Encode(map[string]string{
		"control": "http://" + listener.Addr().String(), "spki": ca.spki,
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
