package tempest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper/client"
)

// workerLine is one line that a worker prints.
type workerLine struct {
	Type    string `json:"type"`
	Session string `json:"session,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Served  bool   `json:"served,omitempty"`
}

const (
	lineSignedOut = "signed_out"
	lineCensus    = "census"
)

// errSignedOut is what a calling client says when there is no session.
var errSignedOut = errors.New("signed out")

// Work is one process of a program: goroutines that call the API with one client over
// a file. It prints when somebody is signed out, answers each line of its input with a
// call, and returns when that ends.
func Work(ctx context.Context, in io.Reader, out io.Writer, args []string) error {
	var server, file, kind, id string
	var goroutines int
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	flags.StringVar(&server, "server", "", "URL of the injector")
	flags.StringVar(&file, "file", "", "where the session is")
	flags.StringVar(&kind, "client", Ours, "ours or tutorial")
	flags.StringVar(&id, "process", "", "name of this process")
	flags.IntVar(&goroutines, "goroutines", 1, "how many call")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := &worker{out: json.NewEncoder(out), network: named{id, http.DefaultTransport}}
	call, err := w.caller(kind, server, file)
	if err != nil {
		return err
	}
	for range goroutines {
		go func() {
			for sleep(ctx, 300*time.Millisecond+rand.N(2*time.Second)) == nil { //nolint:gosec // spreads load
				_ = call(ctx) // whatever it is, the next call may do
			}
		}()
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		asking, stop := context.WithTimeout(ctx, 20*time.Second)
		w.say(workerLine{Type: lineCensus, Served: call(asking) == nil})
		stop()
	}
	return nil
}

type worker struct {
	network http.RoundTripper

	mu      sync.Mutex
	out     *json.Encoder
	session string // that the client was in last
}

func (w *worker) say(line workerLine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(line) // to whoever killed us just now
}

// enter notes the session that the client is in.
func (w *worker) enter(session string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session = session
}

// leave tells that the session is over. A process that does not know which has nothing
// to tell: see program.watch.
func (w *worker) leave(reason string) {
	w.mu.Lock()
	session := w.session
	w.mu.Unlock()
	if session != "" {
		w.say(workerLine{Type: lineSignedOut, Session: session, Reason: reason})
	}
}

// caller returns what makes one call of the API.
func (w *worker) caller(kind, server, file string) (func(context.Context) error, error) {
	if kind == Tutorial {
		t := &tutorial{server: server, file: file, http: http.Client{Transport: w.network}, entered: w.enter, left: w.leave}
		return t.call, nil
	}
	store, err := client.NewFileStore(file)
	if err != nil {
		return nil, err
	}
	source, err := client.New(client.Config{
		Server: server, Store: store, Transport: w.network,
		OnRefresh:   func(t client.Token) { w.enter(t.SessionID) },
		OnSignedOut: func(e *client.SignedOutError) { w.leave(e.Error()) },
	})
	if err != nil {
		return nil, err
	}
	api, err := client.NewTransport(source, client.TransportConfig{Origins: []string{server}, Base: w.network})
	if err != nil {
		return nil, err
	}
	calling := &http.Client{Transport: api}
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server+apiPath, nil)
		if err != nil {
			return err
		}
		return served(calling.Do(r))
	}, nil
}

// served judges an answer of the API.
func served(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// named tells the injector which process sends.
type named struct {
	id string
	http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(processHeader, n.id)
	return n.RoundTripper.RoundTrip(r)
}
