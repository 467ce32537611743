package interop

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// Keyed sends an Idempotency-Key with every refresh, the same for every try at one
// refresh token: so a lost answer is no theft. Put it below a client of OAuth that
// knows nothing of such keys.
type Keyed struct {
	Next http.RoundTripper // below it; nil: http.DefaultTransport

	mu         sync.Mutex
	token, key string // of the latest refresh
}

// RoundTrip implements [http.RoundTripper].
func (k *Keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	next := k.Next
	if next == nil {
		next = http.DefaultTransport
	}
	if r.Body == nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err == nil && form.Get("grant_type") == "refresh_token" {
		r.Header.Set("Idempotency-Key", `"`+k.keyFor(form.Get("refresh_token"))+`"`)
	}
	return next.RoundTrip(r)
}

func (k *Keyed) keyFor(token string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.token != token {
		k.token, k.key = token, rand.Text()
	}
	return k.key
}
