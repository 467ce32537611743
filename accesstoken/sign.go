package accesstoken

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Sign returns a token that says c, signed with key. It returns [ErrClaims] if a
// required claim is missing, a text is not UTF-8, a time lies outside the years
// 1970 to 9999, or the token would be longer than [MaxSize].
//
// It does no more than encode and sign, because it runs once for each refresh.
func Sign(key *SigningKey, c Claims) (string, error) {
	wire := toWire(c)
	if err := wire.check(); err != nil {
		return "", err
	}
	if !c.isUTF8() {
		return "", fmt.Errorf("%w: text is not UTF-8", ErrClaims)
	}
	payload, err := json.Marshal(wire)
	if err != nil {
		return "", fmt.Errorf("%w: a time is out of range", ErrClaims)
	}

	encoding := base64.RawURLEncoding
	token := make([]byte, 0, len(key.header)+encoding.EncodedLen(len(payload))+2+512)
	token = append(token, key.header...)
	token = append(token, '.')
	token = encoding.AppendEncode(token, payload)

	signature, err := key.public.alg.method().Sign(string(token), key.private)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	token = append(token, '.')
	token = encoding.AppendEncode(token, signature)
	if len(token) > MaxSize {
		return "", fmt.Errorf("%w: the token would exceed %d bytes", ErrClaims, MaxSize)
	}
	return string(token), nil
}
