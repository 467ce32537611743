package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// Origins are those that an access token may be sent to. The zero value allows none.
type Origins struct {
	allowed map[string]bool // as originOf spells them
}

// ParseOrigins reads origins: "https://api.example.com". It insists on https. Whoever
// listens to http on the way has the token; on the way to this very machine there is
// nobody.
func ParseOrigins(texts ...string) (Origins, error) {
	if len(texts) == 0 {
		return Origins{}, errors.New("origins: name at least one that the access token may be sent to")
	}
	all := make(map[string]bool, len(texts))
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
			return Origins{}, fmt.Errorf("origin %q: give scheme and host, like https://api.example.com", text)
		}
		origin, ok := originOf(u)
		if !ok {
			return Origins{}, fmt.Errorf("origin %q: https is required, except for localhost", text)
		}
		all[origin] = true
	}
	return Origins{allowed: all}, nil
}

// Allow reports whether a URL belongs to one of the origins, whatever the spelling.
func (o Origins) Allow(u *url.URL) bool {
	origin, ok := originOf(u)
	return ok && o.allowed[origin]
}

// allowRequest reports whether a request may carry the token: it goes to an allowed
// origin, by its address and by its Host header, and so did every request that was
// redirected to here. A host outside could otherwise send us anywhere in our name.
func (o Origins) allowRequest(req *http.Request) bool {
	for req != nil {
		if !o.Allow(req.URL) {
			return false
		}
		if host := (&url.URL{Scheme: req.URL.Scheme, Host: req.Host}); req.Host != "" && !o.Allow(host) {
			return false
		}
		if req.Response == nil { // nobody redirected us: the first request
			return true
		}
		req = req.Response.Request
	}
	return false // a redirect from nowhere: fail closed
}

// originOf spells scheme, host and port in the one way that all equal origins share.
// It returns false for what must not be trusted with a token: no host, or http to
// another machine.
func originOf(u *url.URL) (string, bool) {
	if u == nil || u.Opaque != "" {
		return "", false
	}
	host, ok := hostOf(u.Hostname())
	if !ok {
		return "", false
	}
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	switch {
	case scheme == "https" && port == "":
		port = "443"
	case scheme == "http" && port == "":
		port = "80"
	}
	if scheme != "https" && (scheme != "http" || !isLoopback(host)) {
		return "", false
	}
	return scheme + "://" + host + ":" + port, true
}

// hostOf returns the form of a host in which the resolver is asked for it: lower case,
// punycode, addresses in their canonical spelling. A zone, which names a network card,
// is part of no origin.
func hostOf(host string) (string, bool) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String(), addr.Zone() == ""
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil { // underscores, which IDNA has none of, are common inside
		ascii = strings.ToLower(host)
		for i := range len(ascii) {
			if ascii[i] >= 0x80 {
				return "", false
			}
		}
	}
	return ascii, ascii != ""
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 §6.3
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
