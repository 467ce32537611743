package httpapi

import (
	"fmt"
	"math"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/innkeeper-auth/innkeeper"
)

// parseIdempotencyKey reads the Idempotency-Key header: a structured-field
// string (RFC 8941 section 3.3.3), as draft-ietf-httpapi-idempotency-key-header
// says, or the same without its quotes, with an optional parameter that names
// the generation the key was made for:
//
//	Idempotency-Key: "k3vT0c8mZ1q9fWxY";generation=3
//
// An empty header is no key.
func parseIdempotencyKey(header string) (innkeeper.IdempotencyKey, error) {
	if header == "" {
		return innkeeper.IdempotencyKey{}, nil
	}
	item, err := httpsfv.UnmarshalItem([]string{quoted(header)})
	if err != nil {
		return innkeeper.IdempotencyKey{}, idempotencyFault("send a string in double quotes")
	}
	text, ok := item.Value.(string)
	if !ok {
		return innkeeper.IdempotencyKey{}, idempotencyFault("send a string in double quotes")
	}
	var generation int64
	if parameter, ok := item.Params.Get("generation"); ok {
		generation, ok = parameter.(int64)
		if !ok || generation < 1 || generation > math.MaxUint32 {
			return innkeeper.IdempotencyKey{}, idempotencyFault("generation must be the number of the token's generation")
		}
	}
	return innkeeper.NewIdempotencyKey(text, uint32(generation))
}

// quoted puts a bare key into the quotes that it lacks. Whatever cannot stand
// between quotes is refused by the parser.
func quoted(header string) string {
	header = strings.TrimSpace(header)
	if strings.HasPrefix(header, `"`) {
		return header
	}
	key, parameters, found := strings.Cut(header, ";")
	if found {
		parameters = ";" + parameters
	}
	return fmt.Sprintf(`"%s"%s`, strings.TrimSpace(key), parameters)
}

func idempotencyFault(detail string) error {
	return &innkeeper.InputError{Field: "Idempotency-Key", Detail: detail}
}
