package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// fault is what befalls requests to one path of the desk. Its zero value is none.
type fault struct {
	Path  string `json:"path"`
	Skip  int    `json:"skip"`  // let so many pass first
	Times int    `json:"times"` // then so many are hit; 0: all
	// Hold keeps the request "before" the desk acts, or its answer "after" that, until
	// it is released.
	Hold string `json:"hold"`
	// Delay keeps the answer for so long.
	Delay duration `json:"delay"`
	// End says how it ends. "" sends the answer; "reset-before" resets the connection
	// and the desk never acts; "reset" does so after the act, before the first byte;
	// "reset-in-headers" and "reset-after-headers" do so later; "answer" sends Status,
	// Header and Body, and the desk never acts; "no-cookies" leaves out Set-Cookie,
	// "no-clear" leaves out Clear-Site-Data.
	End    string            `json:"end"`
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`

	faults *faults
}

// faults are those of one inn. They are tried in order.
type faults struct {
	mu    sync.Mutex
	list  []*fault
	gates []gate // of those that are held
}

// gate is what a held request waits at.
type gate struct {
	open   chan bool       // true: go on, false: drop it
	client context.Context // ends when the client hangs up
}

// set replaces all faults.
func (f *faults) set(list []*fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range list {
		one.faults = f
		if one.Times == 0 {
			one.Times = -1
		}
	}
	f.list = list
}

// next returns what befalls a request that arrives now.
func (f *faults) next(path string) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.list {
		switch {
		case one.Path != path || one.Times == 0:
		case one.Skip > 0:
			one.Skip--
			return &fault{}
		default:
			if one.Times > 0 {
				one.Times--
			}
			return one
		}
	}
	return &fault{}
}

// release lets all that is held go on, or drops it, and returns how many those were.
func (f *faults) release(drop bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	released := len(f.gates)
	for _, gate := range f.gates {
		gate.open <- !drop
	}
	f.gates = nil
	return released
}

// held returns how many are held, and how many of their clients have hung up.
func (f *faults) held() (all, abandoned int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, gate := range f.gates {
		if gate.client.Err() != nil {
			abandoned++
		}
	}
	return len(f.gates), abandoned
}

func (f *faults) wait(client context.Context) (goOn bool) {
	open := make(chan bool, 1)
	f.mu.Lock()
	f.gates = append(f.gates, gate{open: open, client: client})
	f.mu.Unlock()
	return <-open
}

func (f *fault) name() string {
	var parts []string
	if f.Hold != "" {
		parts = append(parts, "hold-"+f.Hold)
	}
	if f.Delay > 0 {
		parts = append(parts, "delay")
	}
	if f.End != "" {
		parts = append(parts, f.End)
	}
	return strings.Join(parts, " ")
}

// befall answers a request for which act would do what is asked.
func (f *fault) befall(w http.ResponseWriter, r *http.Request, act func() *httptest.ResponseRecorder) {
	if f.Hold == "before" && !f.faults.wait(r.Context()) {
		reset(w)
		return
	}
	switch f.End {
	case "reset-before":
		reset(w)
		return
	case "answer":
		for name, value := range f.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Body))
		return
	}
	answer := act()
	if f.Hold == "after" && !f.faults.wait(r.Context()) {
		reset(w)
		return
	}
	time.Sleep(time.Duration(f.Delay))
	switch f.End {
	case "reset":
		reset(w)
	case "reset-in-headers":
		cutShort(w, answer, "Set-Cookie:")
	case "reset-after-headers":
		cutShort(w, answer, "")
	case "no-cookies":
		answer.Header().Del("Set-Cookie")
		send(w, answer)
	case "no-clear":
		answer.Header().Del("Clear-Site-Data")
		send(w, answer)
	default:
		send(w, answer)
	}
}

func send(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = answer.Body.WriteTo(w) // who has left cannot be told so
}

// cutShort sends the head of an answer, up to a mark or whole, and resets the
// connection a moment later: a reset overtakes what has not been read yet.
func cutShort(w http.ResponseWriter, answer *httptest.ResponseRecorder, mark string) {
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", answer.Code, http.StatusText(answer.Code))
	for _, name := range []string{"Cache-Control", "Content-Type", "Set-Cookie"} {
		for _, value := range answer.Header().Values(name) {
			fmt.Fprintf(&head, "%s: %s\r\n", name, value)
		}
	}
	fmt.Fprintf(&head, "Content-Length: %d\r\n\r\n", answer.Body.Len())
	text := head.String()
	if at := strings.LastIndex(text, mark); mark != "" && at > 0 {
		text = text[:at]
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 has no connection to give away
	}
	_, _ = conn.Write([]byte(text))
	time.Sleep(50 * time.Millisecond)
	resetConn(conn)
}

// reset ends the connection with RST, or the stream if it is one of HTTP/2.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	resetConn(conn)
}

func resetConn(conn net.Conn) {
	if encrypted, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = encrypted.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
