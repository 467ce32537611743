package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// CookieScope says where the refresh cookie is sent.
type CookieScope string

// The scopes. The zero value means CookieScopePath.
const (
	// CookieScopePath sends the cookie to /auth only, so that APIs on the same host
	// never see it.
	CookieScopePath CookieScope = "path"
	// CookieScopeHost gives the cookie the __Host- prefix, which no other host of
	// the domain can overwrite. Choose it wherever this server has a host of its
	// own.
	CookieScopeHost CookieScope = "host"
)

// HintCookie is the readable twin of the refresh cookie. It holds no secret:
// session hash, generation and expiry, joined by dots. It tells a page whether
// a session may exist, and which generation the browser holds.
const HintCookie = "innkeeper-hint"

// cookies writes and reads the refresh cookie and its hint, and the cookie of a device
// that has signed in, which nobody reads but a sign-in.
type cookies struct {
	name   string
	path   string
	device string // name of the cookie that outlives the session
}

func newCookies(scope CookieScope) (cookies, error) {
	switch scope {
	case "", CookieScopePath:
		return cookies{name: "__Secure-innkeeper-refresh", device: "__Secure-innkeeper-device", path: "/auth"}, nil
	case CookieScopeHost:
		return cookies{name: "__Host-innkeeper-refresh", device: "__Host-innkeeper-device", path: "/"}, nil
	}
	return cookies{}, &innkeeper.InputError{Field: "cookie-scope", Detail: `choose "path" or "host"`}
}

// read returns every refresh cookie in a Cookie header. Names are compared byte
// by byte: __host-… is not __Host-….
func (c cookies) read(header string) []string { return readCookies(header, c.name) }

// readDevice returns every device cookie in a Cookie header.
func (c cookies) readDevice(header string) []string { return readCookies(header, c.device) }

func readCookies(header, name string) []string {
	var values []string
	// Parsed leniently: a stray cookie of some other application must not cost
	// anyone their session.
	request := http.Request{Header: http.Header{"Cookie": {header}}}
	for _, cookie := range request.CookiesNamed(name) {
		values = append(values, cookie.Value)
	}
	return values
}

// set hands out a grant's refresh token, with its hint, and what makes the device known.
func (c cookies) set(grant *innkeeper.Grant) []string {
	maxAge := int(grant.RefreshExpiresIn / time.Second)
	hint := fmt.Sprintf("%s.%d.%d", hintOf(grant.Session.ID), grant.Session.Generation, grant.RefreshToken.ExpiresAt().Unix())
	set := []string{c.secret(c.name, grant.RefreshToken.Reveal(), maxAge), c.hint(hint, maxAge)}
	if grant.Device.Reveal() != "" {
		set = append(set, c.secret(c.device, grant.Device.Reveal(), int(grant.DeviceExpiresIn/time.Second)))
	}
	return set
}

// clear takes both cookies of a session back. Only a logout does this: a failed refresh
// that cleared cookies would let a late loser wipe the winner's. The device stays known.
func (c cookies) clear() []string {
	return []string{c.secret(c.name, "", -1), c.hint("", -1)}
}

func (c cookies) secret(name, value string, maxAge int) string {
	cookie := http.Cookie{
		Name: name, Value: value, Path: c.path, MaxAge: maxAge,
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	}
	return cookie.String()
}

func (c cookies) hint(value string, maxAge int) string {
	cookie := http.Cookie{ //nolint:gosec // readable by scripts: that is its purpose, and it holds no secret
		Name: HintCookie, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, SameSite: http.SameSiteStrictMode,
	}
	return cookie.String()
}

// hintOf is what the hint says of a session: enough to notice that it changed,
// too little to name it.
func hintOf(id innkeeper.SessionID) string {
	sum := sha256.Sum256([]byte(id.String()))
	return base64.RawURLEncoding.EncodeToString(sum[:8])
}
