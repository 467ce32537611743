package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
)

// page is what the feed answers.
type page struct {
	Entries []struct{ Kind, ID string } `json:"entries"`
	Next    int64                       `json:"next"`
}

func (s *server) feed(ctx context.Context, after int64, wait string) (p page, err error) {
	url := fmt.Sprintf("%s/auth/revocations?after=%d&wait=%s", s.url, after, wait)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return p, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return p, fmt.Errorf("the feed answered %s", resp.Status)
	}
	return p, json.NewDecoder(resp.Body).Decode(&p)
}

// A follower learns of what a command beside the server revokes, and is let go when
// the server stops, which it does not hold up.
func TestFollowersOfAServer(t *testing.T) {
	s := newServer(t, "--drain-delay", "2s")
	s.start()
	s.run(testPassword, "user", "add", "ada", "--password-stdin")
	login, err := s.call(http.DefaultClient, http.MethodPost, "/auth/login",
		map[string]string{"username": "ada", "password": testPassword, "delivery": "body"})
	if err != nil || login.status != http.StatusOK {
		t.Fatal(login, err)
	}
	first, err := s.feed(t.Context(), 0, "0s")
	if err != nil {
		t.Fatal(err)
	}
	var follower sync.WaitGroup
	next := first.Next
	follower.Go(func() {
		news, err := s.feed(t.Context(), first.Next, "60s")
		if err != nil || len(news.Entries) != 1 || news.Entries[0].ID != login.Session.ID {
			t.Errorf("it was told %+v, %v", news, err)
		}
		next = news.Next
	})
	s.run("", "session", "end", login.Session.ID)
	follower.Wait()

	sent := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) },
	})
	follower.Go(func() {
		if news, err := s.feed(ctx, next, "60s"); err != nil || len(news.Entries) != 0 || news.Next != next {
			t.Errorf("it was let go with %+v, %v", news, err)
		}
	})
	<-sent
	s.stop() // it has the drain delay to come
	follower.Wait()
	if strings.Contains(s.out.String(), "cut off") {
		t.Errorf("the server said: %s", s.out)
	}
}
