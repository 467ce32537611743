package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"
)

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// patience is how long an answer may take. The longest that may happen honestly is
// a disk that others use too.
const patience = 30 * time.Second

// understood is a request as the server has read it, nil if that was impossible.
func understood(text []byte) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		return nil
	}
	return r
}

// hand gives a request to the handler.
func (i *inn) hand(ctx context.Context, r *http.Request, remote string, hangUp bool) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if hangUp {
		gone, hangUp := context.WithCancel(ctx)
		hangUp()
		ctx = gone
	}
	r = r.WithContext(ctx)
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		i.api.ServeHTTP(w, r)
	}()
	select {
	case <-answered:
	case <-time.After(2 * patience):
		return nil, fmt.Errorf("no answer within %s", 2*patience)
	}
	result := w.Result()
	defer result.Body.Close()
	body, err := io.ReadAll(result.Body)
	return &answer{status: result.StatusCode, header: result.Header, body: body}, err
}

// wire is a connection to the server, which is kept as long as the server keeps it.
type wire struct {
	addr   string
	conn   net.Conn
	reader *bufio.Reader
}

// send sends a request and reads the answer.
func (w *wire) send(ctx context.Context, text []byte, method string) (*answer, error) {
	reused := w.conn != nil
	a, err := w.try(ctx, text, method)
	if err != nil && reused {
		// The server has closed it meanwhile: it does so after a refusal.
		a, err = w.try(ctx, text, method)
	}
	return a, err
}

func (w *wire) try(ctx context.Context, text []byte, method string) (*answer, error) {
	if w.conn == nil {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", w.addr)
		if err != nil {
			return nil, err
		}
		w.conn, w.reader = conn, bufio.NewReader(conn)
	}
	if err := w.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	// The server may have answered, and closed, before it has read all of it: what it
	// says counts.
	_, written := w.conn.Write(text)
	response, err := http.ReadResponse(w.reader, &http.Request{Method: method, URL: new(url.URL)})
	if err != nil {
		w.close()
		if written != nil {
			err = written
		}
		return nil, fmt.Errorf("no answer: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil && response.Header.Get("X-Content-Type-Options") == "" {
		err = nil // net/http hangs up on what is no HTTP, and does not see to it that its text arrives
	}
	if err != nil || written != nil || response.Close {
		w.close()
	}
	return &answer{status: response.StatusCode, header: response.Header, body: body}, err
}

func (w *wire) close() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}
