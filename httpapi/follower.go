package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// follower is a request that waits for news of the feed.
//
// A request that waits in a handler takes 30 KiB: net/http keeps three buffers of 10
// KiB together, the request, and a stack that has grown to 8 KiB while it was read. So
// the connection is taken over, all of that goes, and what waits is two goroutines
// that have done nothing yet: 12 KiB ("go run ./internal/bench followers"). The
// connection ends with the answer: whoever goes on connects anew, once per wait or
// when there is news.
type follower struct {
	api    *API
	after  int64
	wait   time.Duration
	header http.Header // what handlers before have set
}

// writeTime bounds how long a follower may take to receive its answer.
const writeTime = 10 * time.Second

// park takes the connection over and lets the handler go. It returns false where that
// is not possible, as with HTTP/2.
func (f *follower) park(w http.ResponseWriter, r *http.Request) bool {
	// Counted before the server forgets the connection, so that whoever stops waits for
	// one or the other.
	f.api.followers.Add(1)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		f.api.followers.Done()
		return false
	}
	f.header = f.header.Clone()               // not the request's, which would be kept
	ctx := context.WithoutCancel(r.Context()) // for the log; it ends with the handler
	go func() {
		defer f.api.followers.Done()
		f.run(ctx, conn)
	}()
	return true
}

// run waits and answers. It ends early when the client does.
func (f *follower) run(ctx context.Context, conn net.Conn) {
	defer conn.Close() //nolint:errcheck // nobody is left to be told
	defer func() {
		if cause := recover(); cause != nil {
			f.api.logger.ErrorContext(ctx, "follower not answered", "error", fmt.Sprint("panic: ", cause))
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go watch(conn, cancel)
	page, err := f.api.authority.Revocations(ctx, f.after, f.wait)
	if err == nil {
		var parts [][]byte
		parts, err = f.api.pageText(ctx, &page)
		if err == nil {
			err = f.send(conn, parts)
		}
	}
	if err != nil {
		f.api.logger.DebugContext(ctx, "answer not written", "error", err)
	}
}

// watch notices that the client hangs up. One that sends more has to wait for its
// answer to that, which it gets on another connection.
func watch(conn net.Conn, gone context.CancelFunc) {
	var one [1]byte
	if n, _ := conn.Read(one[:]); n == 0 {
		gone()
	}
}

// send writes the answer at once.
func (f *follower) send(conn net.Conn, body net.Buffers) error {
	size := 0
	for _, part := range body {
		size += len(part)
	}
	f.header.Set("Content-Type", "application/json")
	f.header.Set("Cache-Control", "no-store")
	f.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	answer := http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: f.header, ContentLength: int64(size), Close: true,
		// So that it writes what comes before the body, and no body.
		Request: &http.Request{Method: http.MethodHead},
	}
	var head bytes.Buffer
	if err := answer.Write(&head); err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	answered := append(net.Buffers{head.Bytes()}, body...)
	_, err := answered.WriteTo(conn)
	return err
}

// Wait waits for the answers to those who followed the revocation feed when
// [innkeeper.Authority.Run] ended. Call it after [http.Server.Shutdown], which knows
// nothing of their connections. It returns the context's error when that ends first.
func (a *API) Wait(ctx context.Context) error {
	answered := make(chan struct{})
	go func() {
		a.followers.Wait()
		close(answered)
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitHere waits in the handler.
func (f *follower) waitHere(w http.ResponseWriter, r *http.Request) {
	// The server's own limit is for answers that come soon. If w cannot do this, nobody
	// has set a limit.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(f.wait + writeTime))
	page, err := f.api.authority.Revocations(r.Context(), f.after, f.wait)
	if err != nil {
		f.api.refuseHTTP(w, r, err)
		return
	}
	f.api.writePage(w, r, &page)
}
