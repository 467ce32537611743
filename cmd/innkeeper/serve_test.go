package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestShutdownIsBounded stops a server whose only request never ends.
func TestShutdownIsBounded(t *testing.T) {
	listener, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, endless := make(chan struct{}), make(chan struct{})
	defer close(endless)
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-endless
	})
	ctx, stop := context.WithCancel(t.Context())
	var logged bytes.Buffer
	done := make(chan error, 1)
	go func() {
		done <- serveUntilDone(ctx, listener, handler, stopping{limit: 50 * time.Millisecond}, slog.New(slog.NewTextHandler(&logged, nil)))
	}()
	cut := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String())
		if err == nil {
			resp.Body.Close()
		}
		cut <- err
	}()
	<-began
	stop()
	select {
	case err := <-done:
		if err != nil || !strings.Contains(logged.String(), "cut off requests") {
			t.Errorf("got %v and log %q", err, logged.String())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the server does not stop")
	}
	if err := <-cut; err == nil {
		t.Error("the endless request was answered")
	}
}

// TestKeptConnectionsAreNotCutOff stops a server to which somebody keeps a connection:
// each request on it is answered, and the last answer says that it is the last.
func TestKeptConnectionsAreNotCutOff(t *testing.T) {
	listener, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		how := stopping{drain: time.Millisecond, limit: time.Second}
		done <- serveUntilDone(ctx, listener, nothing, how, slog.New(slog.DiscardHandler))
	}()
	client := &http.Client{Transport: &http.Transport{}}
	last := func() bool { // asks, and reports whether the connection ends with the answer
		resp, err := client.Post("http://"+listener.Addr().String(), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.Close
	}
	if last() {
		t.Error("the connection was not kept")
	}
	stop()
	for !last() {
		time.Sleep(time.Millisecond)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.10": true, "::1": true,
		"": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.example.com": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("isLoopback(%q) = %v", host, got)
		}
	}
}
