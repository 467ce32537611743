package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/openapi"
)

// TestFuzz is a short run of the same: one round in memory, one in a file.
func TestFuzz(t *testing.T) {
	sum := newTally()
	for round, requests := range map[int]int{0: 1500, 3: 500} {
		played, err := fuzz(t.Context(), plan{requests: requests, seed: 1, round: round, workers: 1})
		sum.add(played)
		if err != nil {
			t.Fatal(err)
		}
	}
	if sum.requests != 2000 || sum.wired < 150 || len(sum.operations()) < 44 {
		t.Errorf("%d requests, %d over a connection, to %d operations", sum.requests, sum.wired, len(sum.operations()))
	}
	deep := 0 // operations that have done what they are for
	for _, operation := range sum.operations() {
		for status := range sum.by[operation] {
			if status < http.StatusMultipleChoices {
				deep++
				break
			}
		}
	}
	if deep < 42 {
		t.Errorf("only %d operations have accepted a request", deep)
	}
}

// TestJudge makes sure that what is wrong is found.
func TestJudge(t *testing.T) {
	inn, err := openInn(t.Context(), false, innkeeper.InsecureLimitNothing)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inn.close)
	ask := func(target string) *answer {
		r := understood([]byte("GET " + target + " HTTP/1.1\r\nHost: inn.example\r\n\r\n"))
		a, err := inn.hand(t.Context(), r, "192.0.2.1:1", false)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	description, err := openapi.Read(ask("/openapi.json").body)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		target string
		spoil  func(a *answer)
		want   string // in the error; empty: there is none
	}{
		"health":              {"/healthz", func(*answer) {}, ""},
		"a refusal":           {"/auth/me", func(*answer) {}, ""},
		"nothing there":       {"/nothing", func(*answer) {}, ""},
		"nothing of OAuth":    {"/oauth/nothing", func(*answer) {}, ""},
		"a fault":             {"/auth/me", func(a *answer) { a.status = 503 }, "although nothing was down"},
		"an odd status":       {"/auth/me", func(a *answer) { a.status = 418 }, "418 is not described"},
		"a member too many":   {"/healthz", func(a *answer) { a.body = []byte(`{"status":"ok","host":"db1"}`) }, "host"},
		"another type":        {"/healthz", func(a *answer) { a.header.Set("Content-Type", "text/html") }, "not described"},
		"a password":          {"/healthz", func(a *answer) { a.body = []byte(`{"status":"` + passwords[1] + `"}`) }, "password"},
		"a redirect":          {"/nothing", func(a *answer) { a.header.Set("Location", "/") }, "redirect"},
		"no policy":           {"/nothing", func(a *answer) { a.header.Del("Content-Security-Policy") }, "Content-Security-Policy"},
		"a header twice":      {"/auth/me", func(a *answer) { a.header.Add("Cache-Control", "no-store") }, "Cache-Control"},
		"a page of a thief":   {"/healthz", func(a *answer) { a.header.Set("Access-Control-Allow-Origin", "https://evil.example") }, "may read"},
		"success nowhere":     {"/nothing", func(a *answer) { a.status = 200 }, "200 where there is nothing"},
		"bare":                {"/healthz", func(a *answer) { a.header = http.Header{} }, "without headers"},
		"nowhere, no problem": {"/nothing", func(a *answer) { a.body = []byte("not found") }, "no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(test.target)
			test.spoil(a)
			_, err := judge(description, &draft{}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, test.target, nil), a)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

// TestFailure: what is found is reported with the request and the way to repeat it.
func TestFailure(t *testing.T) {
	g := &game{known: make(map[string]bool)}
	for range 3 {
		g.failed(&wrongAnswerError{where: "me", err: http.ErrBodyNotAllowed, report: report(&draft{operation: &openapi.Operation{ID: "me"}}, []byte("GET /"), nil)})
	}
	if len(g.failures) != 1 || !strings.Contains(g.failures[0].Error(), `"GET /"`) {
		t.Fatalf("kept %v", g.failures)
	}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, []string{"-requests", "60", "-workers", "1"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), " 60 requests, ") {
		t.Errorf("it said %s", out.String())
	}
}
