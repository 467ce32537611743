package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/innkeeper-auth/innkeeper/internal/openapi"
)

// Where requests have gone that no operation answers.
const (
	nowhere   = "(no operation)"
	preflight = "(preflight)"
	notHTTP   = "(not HTTP)" // net/http refuses by itself
)

// judge says where a request has gone, and what is wrong with the answer.
func judge(description *openapi.Description, d *draft, r *http.Request, a *answer) (string, error) {
	if r == nil || a.header.Get("X-Content-Type-Options") == "" {
		if a.status != http.StatusBadRequest && a.status != http.StatusRequestHeaderFieldsTooLarge && a.status != http.StatusNotImplemented {
			return notHTTP, fmt.Errorf("status %d without headers of ours", a.status)
		}
		return notHTTP, nil
	}
	if err := judgeHeader(a); err != nil {
		return nowhere, err
	}
	for _, secret := range passwords {
		if bytes.Contains(a.body, []byte(secret)) {
			return nowhere, errors.New("the answer holds a password")
		}
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		if a.status != http.StatusNoContent || len(a.body) > 0 {
			return preflight, fmt.Errorf("a preflight was answered with %d", a.status)
		}
		return preflight, nil
	}
	o := description.Find(r.Method, r.URL.EscapedPath())
	if o == nil {
		return nowhere, judgeNowhere(description, r, a)
	}
	if a.status >= http.StatusInternalServerError && !d.hangUp && !superseded(o, a) {
		return o.ID, fmt.Errorf("%d although nothing was down", a.status)
	}
	return o.ID, o.Judge(r.Method, a.status, a.header, a.body)
}

// superseded is the one 503 that a request can bring about: docs/oauth.md.
func superseded(o *openapi.Operation, a *answer) bool {
	return o.ID == "token" && a.status == http.StatusServiceUnavailable && bytes.Contains(a.body, []byte("a newer refresh token has been handed out"))
}

func judgeHeader(a *answer) error {
	for _, name := range []string{"Content-Security-Policy", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Cache-Control"} {
		if len(a.header.Values(name)) != 1 {
			return fmt.Errorf("the header %s is there %d times", name, len(a.header.Values(name)))
		}
	}
	if a.header.Get("Location") != "" {
		return errors.New("a redirect")
	}
	if origin := a.header.Get("Access-Control-Allow-Origin"); origin != "" && origin != app {
		return fmt.Errorf("pages of %q may read this", origin)
	}
	return nil
}

// judgeNowhere judges what is said where there is nothing.
func judgeNowhere(description *openapi.Description, r *http.Request, a *answer) error {
	if isFile(r) {
		return nil
	}
	switch a.status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusForbidden:
	default:
		return fmt.Errorf("%d where there is nothing", a.status)
	}
	if r.Method == http.MethodHead {
		return nil
	}
	if strings.HasPrefix(r.URL.Path, "/oauth/") {
		return description.JudgeBody("OauthError", a.body)
	}
	return description.JudgeBody("Problem", a.body)
}

// isFile is what is served and not described.
func isFile(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && path.Clean(r.URL.Path) == r.URL.Path &&
		(strings.HasPrefix(r.URL.Path, "/auth/client") || strings.HasPrefix(r.URL.Path, "/openapi"))
}
