package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
)

// shutdownTimeout bounds how long a request that has begun may take to finish
// when the server stops: as long as one handler may work, and some more to send.
const shutdownTimeout = 15 * time.Second

// maxDrainDelay is more than any load balancer needs, and less than what somebody
// who has mistaken the unit would wait for.
const maxDrainDelay = 5 * time.Minute

// farewell bounds how long proxies have, after a drain, to use or to close the connections
// that they keep. They close them before that if they keep them for less without use.
const farewell = 5 * time.Second

// stopping says how a server stops.
type stopping struct {
	drain time.Duration // how long it goes on while it says that it is not ready; 0: nobody has to notice
	limit time.Duration // of requests that have begun by then
	// release lets those go who wait for news, so that the limit is not theirs, and
	// followed waits until they have left; nil: there is nobody.
	release  func()
	followed func(context.Context) error
}

// background runs what an authority does beside requests, and returns when it knows
// what is revoked: until then no request must be let in. It goes on when ctx ends,
// for those who are served until the server has stopped. End, which may be called
// again, ends it; wait does too, and waits.
func background(ctx context.Context, authority *innkeeper.Authority) (end, wait func(), err error) {
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	var over sync.WaitGroup
	over.Go(func() { authority.Run(running) })
	wait = func() {
		end()
		over.Wait()
	}
	if _, err := authority.Revocations(ctx, 0, shutdownTimeout); err != nil {
		wait()
		return nil, nil, fmt.Errorf("read what is revoked: %w", err)
	}
	return end, wait, nil
}

// serveUntilDone serves until the context ends. Then it says that it is not ready, goes
// on for a while for those who have not noticed yet, accepts nobody else, and finishes
// what has begun, within a limit.
func serveUntilDone(ctx context.Context, listener net.Listener, handler http.Handler, how stopping, log *slog.Logger) error {
	entrance := &door{next: handler}
	server := httpapi.NewServer(listener.Addr().String(), entrance)
	server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	server.ConnState = entrance.count
	if how.release != nil {
		server.RegisterOnShutdown(how.release)
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	entrance.stopping.Store(true)
	if how.drain > 0 {
		log.Info("stopping: not ready any more, and answering on until load balancers have noticed", "drain_delay", how.drain.String())
		select {
		case err := <-failed:
			return fmt.Errorf("serve: %w", err)
		case <-time.After(how.drain):
		}
		entrance.empty(listener)
	}
	log.Info("stopping: requests that have begun are finished")
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), how.limit)
	defer cancel()
	err := server.Shutdown(bounded)
	if how.followed != nil {
		err = errors.Join(err, how.followed(bounded))
	}
	if err != nil {
		log.Warn("cut off requests that did not finish in time", "limit", how.limit.String())
		_ = server.Close() // nothing is left to lose
	}
	log.Info("stopped")
	return nil
}

// door is what requests come through: it knows who is inside, and tells them when the
// server stops.
type door struct {
	next     http.Handler
	stopping atomic.Bool  // answers /readyz with 503
	closing  atomic.Bool  // answers, and closes the connection
	open     atomic.Int64 // connections
}

// count implements [http.Server.ConnState].
func (d *door) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		d.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		d.open.Add(-1)
	}
}

// empty accepts no more connections, and waits until those that there are have been
// closed after one more request, or without one by whoever keeps them. A connection that
// the server closes may have a request on its way, and a proxy that has lost the answer
// to a POST must not repeat it (RFC 9110 section 9.2.2).
func (d *door) empty(listener net.Listener) {
	_ = listener.Close() // it accepts nobody, however that ends
	d.closing.Store(true)
	for end := time.Now().Add(farewell); d.open.Load() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
}

// ServeHTTP implements [http.Handler]. It answers /readyz itself once the server is
// stopping: whether the store answers does not matter any more.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.closing.Load() {
		w.Header().Set("Connection", "close")
	}
	if !d.stopping.Load() || r.URL.Path != "/readyz" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		d.next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(httpapi.Problem{ // who left cannot be told so
		Type: "about:blank", Title: http.StatusText(http.StatusServiceUnavailable), Status: http.StatusServiceUnavailable,
		Code: "unavailable", Detail: "this server is stopping; ask another one",
	})
}
