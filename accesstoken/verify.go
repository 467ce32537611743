package accesstoken

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
)

// Expectation is what a token must satisfy besides being genuine.
type Expectation struct {
	// Issuer must equal iss. The zero value matches no token.
	Issuer string
	// Audience must be among aud. The zero value matches no token.
	Audience string
	// Now is the time to judge by. With the zero value every token is expired: a
	// forgotten clock must not make tokens eternal.
	Now time.Time
	// Skew is how far the issuer's clock may differ from Now. A token is refused
	// from the moment that Now is ExpiresAt plus Skew: with a Skew of zero, the
	// default, a token is expired at exp itself (RFC 7519 §4.1.4). The same
	// allowance is made for nbf.
	Skew time.Duration
}

// Verify returns the claims of a token that was signed by one of the caller's
// keys and meets the expectation. On any error the claims are zero.
//
// The function keys returns the key with a given ID, or false. It is called at
// most once, with text from the token that may be anything: it must be taken
// for the key of a map and never for a path, a query or a URL.
//
// The errors are those above: [ErrMalformed], [ErrUnknownKey] and [ErrSignature]
// of a token that cannot be trusted at all, then in this order [ErrClaims],
// [ErrIssuer], [ErrAudience], [ErrNotYetValid] and [ErrExpired] of one that is
// genuine.
func Verify(token string, keys func(keyID string) (PublicKey, bool), want Expectation) (Claims, error) {
	payload, err := authenticate(token, typ, keys)
	if err != nil {
		return Claims{}, err
	}
	var wire wireClaims
	if strictjson.Unmarshal(payload, &wire) != nil {
		return Claims{}, fmt.Errorf("%w: the payload is not strict JSON of the right types", ErrClaims)
	}
	if err := wire.check(); err != nil {
		return Claims{}, err
	}
	if err := want.check(wire); err != nil {
		return Claims{}, err
	}
	return wire.claims(), nil
}

// authenticate checks form, kind and signature of a JWS and returns the decoded
// payload. No byte of the payload is looked at before the signature has been
// found right. The kind is an argument so that vectors which have none, those of
// Wycheproof, come this very way.
func authenticate(token, kind string, keys func(string) (PublicKey, bool)) ([]byte, error) {
	if len(token) > MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxSize)
	}
	// A JWE has five segments, the JSON serialization none.
	if strings.Count(token, ".") != 2 {
		return nil, fmt.Errorf("%w: not three segments", ErrMalformed)
	}
	headerText, rest, _ := strings.Cut(token, ".")
	payloadText, signatureText, _ := strings.Cut(rest, ".")
	signed := token[:len(headerText)+len(".")+len(payloadText)]

	header, err := recall(headerText, kind)
	if err != nil {
		return nil, err
	}
	payload, err := decodeSegment(payloadText)
	if err != nil {
		return nil, fmt.Errorf("%w: the payload is not base64url", ErrMalformed)
	}
	signature, err := decodeSegment(signatureText)
	if err != nil {
		return nil, fmt.Errorf("%w: the signature is not base64url", ErrMalformed)
	}

	key, ok := keys(header.KeyID)
	if !ok || key.key == nil {
		return nil, ErrUnknownKey
	}
	// The key decides. The header only has to agree (RFC 8725 §3.1).
	if header.Algorithm != string(key.alg) {
		return nil, fmt.Errorf("%w: alg is not that of the key", ErrSignature)
	}
	if key.alg.method().Verify(signed, signature, key.key) != nil {
		return nil, ErrSignature
	}
	remember(headerText, kind, header)
	return payload, nil
}

// genuine is the header of the genuine token that was verified last. All tokens of a key
// have the same one, and what it says follows from its text alone, so that it need not be
// read for each of them.
var genuine atomic.Pointer[genuineHeader]

type genuineHeader struct {
	text, kind string
	header     wireHeader
}

func (g *genuineHeader) is(text, kind string) bool {
	return g != nil && g.text == text && g.kind == kind
}

// recall is decodeHeader, unless this is the header that was read last.
func recall(text, kind string) (wireHeader, error) {
	if last := genuine.Load(); last.is(text, kind) {
		return last.header, nil
	}
	return decodeHeader(text, kind)
}

func remember(text, kind string, header wireHeader) {
	if !genuine.Load().is(text, kind) {
		genuine.Store(&genuineHeader{strings.Clone(text), kind, header}) // a clone, or all of the token would stay
	}
}

// decodeHeader reads a header and refuses what no key could make acceptable, so
// that such tokens cause no key to be looked up, or fetched.
func decodeHeader(text, kind string) (wireHeader, error) {
	var header wireHeader
	data, err := decodeSegment(text)
	if err != nil {
		return header, fmt.Errorf("%w: the header is not base64url", ErrMalformed)
	}
	if strictjson.Unmarshal(data, &header) != nil {
		return header, fmt.Errorf("%w: the header is not strict JSON", ErrMalformed) // the cause may name members
	}
	// Media types are compared without regard to case (RFC 2045 §5.1), and
	// "application/" may be left out (RFC 7515 §4.1.9).
	if !strings.EqualFold(header.Type, kind) && !strings.EqualFold(header.Type, "application/"+kind) {
		return header, fmt.Errorf("%w: typ is not %s", ErrMalformed, kind)
	}
	// We understand no extension, so that any list of critical ones, and any value
	// that is not such a list, is one too many (RFC 7515 §4.1.11).
	if header.Critical != nil {
		return header, fmt.Errorf("%w: it has a crit header", ErrMalformed)
	}
	if _, err := ParseAlgorithm(header.Algorithm); err != nil {
		return header, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if header.KeyID == "" {
		return header, fmt.Errorf("%w: kid is missing", ErrMalformed)
	}
	return header, nil
}

// check judges genuine claims. Expiry comes last, so that [ErrExpired] means that
// nothing else is wrong.
func (want Expectation) check(wire wireClaims) error {
	if wire.Issuer != want.Issuer {
		return ErrIssuer
	}
	if !slices.Contains(wire.Audience, want.Audience) {
		return ErrAudience
	}
	if want.Now.IsZero() {
		return fmt.Errorf("%w: no time was given to judge by", ErrExpired)
	}
	if !wire.NotBefore.IsZero() && want.Now.Add(want.Skew).Before(time.Time(wire.NotBefore)) {
		return ErrNotYetValid
	}
	if !want.Now.Before(time.Time(wire.ExpiresAt).Add(want.Skew)) {
		return ErrExpired
	}
	return nil
}
