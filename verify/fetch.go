package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
)

// Bounds of what an issuer may make us hold, and for how long.
const (
	maxDocument   = 1 << 20
	maxKeys       = 64
	minAge        = time.Minute
	maxAge        = time.Hour
	defaultMaxAge = 10 * time.Minute
)

// A connection of HTTP/2 on which nothing has come for pingAfter is asked whether it
// lives, and given up after another pingTimeout. A request that times out there leaves
// the connection to the next one: if it had died in silence, as in a firewall that has
// forgotten it, no request would reach the issuer for many minutes.
const (
	pingAfter   = 5 * time.Second
	pingTimeout = 5 * time.Second
)

// keySet is a JWK set as fetched.
type keySet struct {
	keys   map[string]accesstoken.PublicKey
	maxAge time.Duration
}

// fetcher gets the key set of one issuer.
type fetcher struct {
	client http.Client
	url    string
}

func newFetcher(client *http.Client, url string) *fetcher {
	return &fetcher{client: *client, url: url}
}

// clientFor returns a client that follows no redirect, which could lead from https to
// anywhere. No issuer needs one here. If the caller's has no transport it has one of our
// own, which is returned besides.
func clientFor(client *http.Client) (*http.Client, *http.Transport) {
	var c http.Client
	if client != nil {
		c = *client // a copy: the caller's own keeps its ways
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.Transport != nil {
		return &c, nil
	}
	own := newTransport()
	if own != nil {
		c.Transport = own
	}
	return &c, own
}

// newTransport returns one like that of net/http, which gives up connections that are
// dead. It returns nil if the program has put something else in the place of that one.
func newTransport() *http.Transport {
	standard, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil
	}
	t := standard.Clone()
	if t.HTTP2 == nil {
		t.HTTP2 = &http.HTTP2Config{}
	}
	t.HTTP2.SendPingTimeout, t.HTTP2.PingTimeout = pingAfter, pingTimeout
	return t
}

// fetch gets the key set once. The context bounds the time.
func (f *fetcher) fetch(ctx context.Context) (keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return keySet{}, fmt.Errorf("fetch JWKS: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return keySet{}, fmt.Errorf("fetch JWKS: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return keySet{}, fmt.Errorf("fetch JWKS: status %d", resp.StatusCode)
	}
	document, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return keySet{}, fmt.Errorf("read JWKS: %w", err)
	}
	if len(document) > maxDocument {
		return keySet{}, fmt.Errorf("read JWKS: longer than %d bytes", maxDocument)
	}
	keys, err := parseKeySet(document)
	if err != nil {
		return keySet{}, fmt.Errorf("read JWKS: %w", err)
	}
	return keySet{keys: keys, maxAge: ageLimit(resp.Header)}, nil
}

// parseKeySet returns the keys of a document that we can use. Others are passed
// over, as RFC 7517 §5 wants: an issuer may have keys for other purposes. Two
// keys of one name fail the document, because no choice between them is right,
// and so does one without any usable key: better the keys that we had.
func parseKeySet(document []byte) (map[string]accesstoken.PublicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := strictjson.Unmarshal(document, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	keys := make(map[string]accesstoken.PublicKey, len(set.Keys))
	for _, text := range set.Keys {
		key, err := accesstoken.ParseJWK(text)
		if err != nil {
			continue
		}
		if _, twice := keys[key.KeyID()]; twice {
			return nil, errors.New("two keys share one kid")
		}
		keys[key.KeyID()] = key
	}
	if len(keys) == 0 {
		return nil, errors.New("no usable key")
	}
	return keys, nil
}

// ageLimit reads max-age (RFC 9111 §5.2.2.1) and keeps it within bounds: neither
// may a mistake of an hour make a withdrawn key live for a year, nor one of a
// digit have us fetch all the time.
func ageLimit(header http.Header) time.Duration {
	limit := defaultMaxAge
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minAge
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 32)
			if err != nil {
				return minAge // RFC 9111 §4.2.1: treat what is invalid as stale
			}
			limit = time.Duration(seconds) * time.Second
		}
	}
	return min(max(limit, minAge), maxAge)
}
