// Package bearer is how an access token travels in a request and how its refusal
// is challenged (RFC 6750). The server and the verifiers of other APIs share it,
// so that what one takes for a token, the other does too.
package bearer

import (
	"errors"
	"net/http"
	"strings"
)

var (
	// ErrMissing reports a request that carries no access token as far as we know.
	ErrMissing = errors.New("no access token was sent")
	// ErrMalformed reports an Authorization header that is not as it must be.
	ErrMalformed = errors.New("the Authorization header must be sent once, as Bearer, one space and the access token")
)

// Token takes the token from the one place where it may stand (RFC 6750 section
// 2.1). A request with credentials of another scheme has none that we know, as if
// it had none at all (section 3.1).
//
// Of several Authorization headers a proxy before us may have checked another
// than we would, so that they are refused and not chosen from.
func Token(header http.Header) (string, error) {
	values := header.Values("Authorization")
	switch len(values) {
	case 0:
		return "", ErrMissing
	case 1:
	default:
		return "", ErrMalformed
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMissing
	}
	if !isToken68(token) {
		return "", ErrMalformed
	}
	return token, nil
}

// isToken68 reports whether text is a token68 of RFC 9110 section 11.2, and
// thereby that exactly one space stood before it.
func isToken68(text string) bool {
	text = strings.TrimRight(text, "=")
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return text != ""
}

// Challenge returns the WWW-Authenticate value of RFC 6750 section 3. An empty
// code makes a challenge without an error: the client did nothing wrong, it only
// sent no token.
func Challenge(realm, code, description string) string {
	challenge := "Bearer realm=" + quote(realm)
	if code != "" {
		challenge += ", error=" + quote(code) + ", error_description=" + quote(description)
	}
	return challenge
}

// quote returns a quoted-string of RFC 9110 section 5.6.4. What cannot stand in
// one is dropped: a name outside ASCII must not break the header.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		if c < ' ' || c > '~' {
			continue
		}
		if c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	b.WriteByte('"')
	return b.String()
}
