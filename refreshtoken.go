package innkeeper

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// RefreshTokenPrefix begins every refresh token, so that secret scanners find
// leaked ones.
const RefreshTokenPrefix = "ikr_"

// Layout of a refresh token after its prefix, in bytes (docs/refresh.md):
//
//	root key id 2 | flags 1 | session id 16 | generation 4 | expires 5 | secret 32 | tag 16
const (
	offsetFlags      = 2
	offsetSession    = offsetFlags + 1
	offsetGeneration = offsetSession + 16
	offsetExpires    = offsetGeneration + 4
	offsetSecret     = offsetExpires + 5
	offsetTag        = offsetSecret + 32
	tokenSize        = offsetTag + 16

	flagBody = 1 << 0 // delivery by body; unset: by cookie

	maxGeneration = 1<<32 - 1
	maxExpires    = 1<<40 - 1 // seconds since 1970: the year 36812
)

var tokenEncoding = base64.RawURLEncoding.Strict()

// secret is what makes a refresh token worth stealing. The store keeps its
// SHA-256 and nothing else of it.
type secret [32]byte

func newSecret() secret {
	var s secret
	rand.Read(s[:])
	return s
}

func (s secret) hash() SecretHash { return sha256.Sum256(s[:]) }

// SecretHash is the SHA-256 of a refresh token's secret. A plain hash is enough
// for 256 random bits (OWASP ASVS 6.5.2 by analogy).
type SecretHash [sha256.Size]byte

// Salt is mixed into one rotation, and kept in the session's row until the
// next, so that nobody who holds the root key can walk from an old logged token
// to the present one.
type Salt [16]byte

func newSalt() Salt {
	var s Salt
	rand.Read(s[:])
	return s
}

// RefreshToken is a genuine refresh token: one whose tag has been checked, or
// that we have just minted. It prints as "ikr_[redacted]" wherever it is
// printed; [RefreshToken.Reveal] is the only way to its text. The zero value is
// no token.
type RefreshToken struct {
	_          [0]func() // not comparable: == would compare addresses
	rootKey    rootkey.ID
	delivery   Delivery
	session    SessionID
	generation uint32
	expires    int64 // seconds since 1970
	secret     concealed
	text       concealed
}

// concealed is text that fmt cannot print. Where a token stands in an unexported
// field of something that is printed, fmt asks none of the token's methods and
// prints what is inside: here, an address, since fmt follows no pointer to a
// string.
type concealed struct {
	text *string
}

func conceal(text string) concealed { return concealed{&text} }

func (c concealed) reveal() string {
	if c.text == nil {
		return ""
	}
	return *c.text
}

// SessionID returns the session that the token belongs to.
func (t RefreshToken) SessionID() SessionID { return t.session }

// Generation returns how many tokens of the session came before, plus one.
func (t RefreshToken) Generation() uint32 { return t.generation }

// Delivery returns the one way in which the token may travel.
func (t RefreshToken) Delivery() Delivery { return t.delivery }

// ExpiresAt returns the moment from which the token is refused.
func (t RefreshToken) ExpiresAt() time.Time { return time.Unix(t.expires, 0).UTC() }

// Reveal returns the text of the token, to hand it to its owner. MUST NOT be
// logged.
func (t RefreshToken) Reveal() string { return t.text.reveal() }

// ratchet returns the secret that the successor's is derived from.
func (t RefreshToken) ratchet() secret {
	var s secret
	copy(s[:], t.secret.reveal())
	return s
}

const redactedRefreshToken = RefreshTokenPrefix + "[redacted]"

// String returns a placeholder, as do the methods below: printing a token by
// accident shows nothing.
func (t RefreshToken) String() string { return redactedRefreshToken }

// GoString implements [fmt.GoStringer].
func (t RefreshToken) GoString() string { return redactedRefreshToken }

// Format implements [fmt.Formatter] for every verb.
func (t RefreshToken) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedRefreshToken)) }

// LogValue implements [slog.LogValuer].
func (t RefreshToken) LogValue() slog.Value { return slog.StringValue(redactedRefreshToken) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (t RefreshToken) MarshalText() ([]byte, error) { return []byte(redactedRefreshToken), nil }

// ParseRefreshToken returns the token that the text spells, or
// [ErrRefreshTokenInvalid] if no key of the ring has minted it. Each token has
// exactly one spelling. It never looks at a store, so a forged token costs one
// HMAC (RFC 2104) and nothing else.
func ParseRefreshToken(ring rootkey.Ring, text string) (RefreshToken, error) {
	encoded, ok := strings.CutPrefix(text, RefreshTokenPrefix)
	if !ok || len(encoded) != tokenEncoding.EncodedLen(tokenSize) || strings.ContainsAny(encoded, "\r\n") {
		return RefreshToken{}, ErrRefreshTokenInvalid
	}
	raw, err := tokenEncoding.DecodeString(encoded)
	if err != nil {
		return RefreshToken{}, ErrRefreshTokenInvalid
	}
	key, ok := ring.ByID(rootkey.ID(raw[:offsetFlags]))
	if !ok || subtle.ConstantTimeCompare(tag(key, raw[:offsetTag]), raw[offsetTag:]) != 1 {
		return RefreshToken{}, ErrRefreshTokenInvalid
	}
	// Only what we wrote ourselves is decoded from here on. Flags that we do not
	// know were set by a newer server, whose rules this one cannot keep.
	if raw[offsetFlags]&^flagBody != 0 {
		return RefreshToken{}, ErrRefreshTokenInvalid
	}
	t := RefreshToken{
		rootKey:    key.ID(),
		delivery:   DeliverByCookie,
		session:    SessionID(raw[offsetSession:offsetGeneration]),
		generation: binary.BigEndian.Uint32(raw[offsetGeneration:]),
		expires:    decodeExpires(raw[offsetExpires:offsetSecret]),
		secret:     conceal(string(raw[offsetSecret:offsetTag])),
		text:       conceal(text),
	}
	if raw[offsetFlags]&flagBody != 0 {
		t.delivery = DeliverByBody
	}
	return t, nil
}

// mint spells out the refresh token of a session's present generation. The same
// arguments give the same bytes, which is what lets a replay hand out the same
// successor.
func mint(key *rootkey.Key, session *Session, s secret) RefreshToken {
	raw := make([]byte, 0, tokenSize)
	id := key.ID()
	raw = append(raw, id[:]...)
	raw = append(raw, flags(session.Delivery))
	raw = append(raw, session.ID[:]...)
	raw = binary.BigEndian.AppendUint32(raw, session.Generation)
	raw, expires := appendExpires(raw, session.RefreshExpiresAt)
	raw = append(raw, s[:]...)
	raw = append(raw, tag(key, raw)...)
	return RefreshToken{
		rootKey:    id,
		delivery:   session.Delivery,
		session:    session.ID,
		generation: session.Generation,
		expires:    expires,
		secret:     conceal(string(s[:])),
		text:       conceal(RefreshTokenPrefix + tokenEncoding.EncodeToString(raw)),
	}
}

// successorSecret derives the secret of generation g+1 from that of g. It is a
// function of the token and the row, so two requests with the same parent
// cannot fork a session, and a retry finds the successor that was lost.
func successorSecret(key *rootkey.Key, salt Salt, session SessionID, generation uint32, parent secret) secret {
	mac := hmac.New(sha256.New, key.RatchetKey())
	mac.Write(salt[:])
	mac.Write(session[:])
	var next [4]byte
	binary.BigEndian.PutUint32(next[:], generation)
	mac.Write(next[:])
	mac.Write(parent[:])
	var s secret
	mac.Sum(s[:0])
	return s
}

func tag(key *rootkey.Key, body []byte) []byte {
	mac := hmac.New(sha256.New, key.TagKey())
	mac.Write(body)
	return mac.Sum(nil)[:tokenSize-offsetTag]
}

func flags(d Delivery) byte {
	if d == DeliverByBody {
		return flagBody
	}
	return 0
}

// appendExpires appends a time in five bytes, and returns what it is then.
func appendExpires(raw []byte, at time.Time) ([]byte, int64) {
	expires := min(max(at.Unix(), 0), maxExpires)
	return append(raw, byte(expires>>32), byte(expires>>24), byte(expires>>16), byte(expires>>8), byte(expires)), expires
}

func decodeExpires(b []byte) int64 {
	return int64(b[0])<<32 | int64(b[1])<<24 | int64(b[2])<<16 | int64(b[3])<<8 | int64(b[4])
}
