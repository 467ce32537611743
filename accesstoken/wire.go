package accesstoken

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
)

// typ is the media type of RFC 9068 §2.1, without "application/" as RFC 7515
// §4.1.9 recommends.
const typ = "at+jwt"

// encodeHeader returns the first segment of the tokens of a key.
func encodeHeader(key PublicKey) (string, error) {
	text, err := json.Marshal(struct {
		Type      string `json:"typ"`
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}{typ, string(key.alg), key.id})
	if err != nil {
		return "", fmt.Errorf("encode token header: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(text), nil
}

// wireHeader is the header of a token as read. The members jwk, jku, x5u and x5c
// are missing on purpose: a token has no say in which key verifies it.
type wireHeader struct {
	Type      string          `json:"typ"`
	Algorithm string          `json:"alg"`
	KeyID     string          `json:"kid"`
	Critical  json.RawMessage `json:"crit"`
}

// wireClaims is the payload of a token.
type wireClaims struct {
	Issuer      string      `json:"iss"`
	Subject     string      `json:"sub"`
	Audience    audience    `json:"aud"`
	ExpiresAt   numericDate `json:"exp"`
	NotBefore   numericDate `json:"nbf,omitzero"` // read, never written
	IssuedAt    numericDate `json:"iat"`
	ID          string      `json:"jti"`
	ClientID    string      `json:"client_id"`
	SessionID   string      `json:"sid,omitempty"`
	AuthTime    numericDate `json:"auth_time,omitzero"`
	AuthMethods []string    `json:"amr,omitempty"`
	Epoch       string      `json:"epoch,omitempty"`
	Username    string      `json:"username,omitempty"`
	Email       string      `json:"email,omitempty"`
	Roles       []string    `json:"roles,omitempty"`
	Permissions []string    `json:"permissions,omitempty"`
}

func toWire(c Claims) wireClaims {
	return wireClaims{
		Issuer:      c.Issuer,
		Subject:     c.Subject,
		Audience:    c.Audience,
		ExpiresAt:   numericDate(c.ExpiresAt),
		IssuedAt:    numericDate(c.IssuedAt),
		ID:          c.ID,
		ClientID:    c.ClientID,
		SessionID:   c.SessionID,
		AuthTime:    numericDate(c.AuthTime),
		AuthMethods: c.AuthMethods,
		Epoch:       c.Epoch,
		Username:    c.Username,
		Email:       c.Email,
		Roles:       c.Roles,
		Permissions: c.Permissions,
	}
}

func (w wireClaims) claims() Claims {
	return Claims{
		Issuer:      w.Issuer,
		Audience:    w.Audience,
		Subject:     w.Subject,
		ID:          w.ID,
		IssuedAt:    time.Time(w.IssuedAt),
		ExpiresAt:   time.Time(w.ExpiresAt),
		ClientID:    w.ClientID,
		SessionID:   w.SessionID,
		AuthTime:    time.Time(w.AuthTime),
		AuthMethods: w.AuthMethods,
		Epoch:       w.Epoch,
		Username:    w.Username,
		Email:       w.Email,
		Roles:       w.Roles,
		Permissions: w.Permissions,
	}
}

// check insists on the claims of RFC 9068 §2.2. An empty string is as good as
// none: it would equal the zero value of somebody's configuration.
func (w wireClaims) check() error {
	for _, claim := range []struct {
		name    string
		present bool
	}{
		{"iss", w.Issuer != ""},
		{"sub", w.Subject != ""},
		{"aud", len(w.Audience) > 0},
		{"exp", !w.ExpiresAt.IsZero()},
		{"iat", !w.IssuedAt.IsZero()},
		{"jti", w.ID != ""},
		{"client_id", w.ClientID != ""},
	} {
		if !claim.present {
			return fmt.Errorf("%w: %s is missing", ErrClaims, claim.name)
		}
	}
	for _, aud := range w.Audience {
		if aud == "" {
			return fmt.Errorf("%w: aud holds an empty value", ErrClaims)
		}
	}
	return nil
}

// isUTF8 reports whether all text is. encoding/json would otherwise put
// replacement characters in its place, and two users could become one.
func (c Claims) isUTF8() bool {
	for _, list := range [][]string{
		{c.Issuer, c.Subject, c.ID, c.ClientID, c.SessionID, c.Epoch, c.Username, c.Email},
		c.Audience, c.AuthMethods, c.Roles, c.Permissions,
	} {
		for _, text := range list {
			if !utf8.ValidString(text) {
				return false
			}
		}
	}
	return true
}

// audience is written as a string when it has one value (RFC 7519 §4.1.3), and
// read in both forms.
type audience []string

func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

func (a *audience) UnmarshalJSON(text []byte) error {
	switch text[0] {
	case '"':
		*a = make(audience, 1)
		return strictjson.Unmarshal(text, &(*a)[0])
	case '[':
		return strictjson.Unmarshal(text, (*[]string)(a))
	default:
		return ErrClaims
	}
}

// numericDate is a JSON number of seconds since 1970 (RFC 7519 §2). The zero value
// means that there is none; 1970 itself is not zero.
type numericDate time.Time

// maxDate is the last second of the year 9999, beyond which times cease to print
// and to compare in common databases.
const maxDate = 253402300799

func (d numericDate) IsZero() bool { return time.Time(d).IsZero() }

func (d numericDate) MarshalJSON() ([]byte, error) {
	seconds := time.Time(d).Unix()
	if seconds < 0 || seconds > maxDate {
		return nil, ErrClaims
	}
	return strconv.AppendInt(nil, seconds, 10), nil
}

// UnmarshalJSON refuses strings, null, and numbers that are negative or too large
// to be a date. It drops fractions of a second.
func (d *numericDate) UnmarshalJSON(text []byte) error {
	if text[0] < '0' || text[0] > '9' { // ParseFloat takes "inf" and "-1" as well
		return ErrClaims
	}
	seconds, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil { // a fraction, an exponent, or too large
		number, err := strconv.ParseFloat(string(text), 64)
		if err != nil || number >= maxDate+1 {
			return ErrClaims
		}
		seconds = int64(number)
	}
	if seconds > maxDate {
		return ErrClaims
	}
	*d = numericDate(time.Unix(seconds, 0).UTC())
	return nil
}

// canonical is made once: Strict copies its tables.
var canonical = base64.RawURLEncoding.Strict()

// decodeSegment reads unpadded base64url in its one canonical spelling: spare
// bits must be zero, and there are no line breaks, which the decoder of the
// standard library skips even when it is strict.
func decodeSegment(text string) ([]byte, error) {
	if strings.IndexByte(text, '\r') >= 0 || strings.IndexByte(text, '\n') >= 0 {
		return nil, ErrMalformed
	}
	data, err := canonical.DecodeString(text)
	if err != nil {
		return nil, ErrMalformed // the cause may quote the token
	}
	return data, nil
}
