package httpapi

import (
	"net/http"
	"strings"
)

// hsts makes browsers come over TLS for a year, whatever a link says (RFC 6797). It
// says nothing of subdomains, which are not ours to speak for.
const hsts = "max-age=31536000"

// apiPolicy is for answers that are no pages: should a browser show one all the same,
// it loads nothing, runs nothing, sends nothing and stands in no frame.
const apiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// withHeaders gives every answer what keeps browsers from making more of it than it
// is: refusals, preflights and faults too. It begins with the strictest; whoever
// answers with something else says so. What is refused before any handler runs,
// because it is no HTTP, has no headers of ours and nothing to protect.
func withHeaders(issuer string, next http.Handler) http.Handler {
	secure := strings.HasPrefix(issuer, "https:")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", apiPolicy)
		h.Set("Cross-Origin-Resource-Policy", resourcePolicy(r.URL.Path))
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		if secure {
			// Over plain HTTP it would be ignored (RFC 6797 section 8.1), and tests and demos
			// on localhost must not bind the whole host.
			h.Set("Strict-Transport-Security", hsts)
		}
		if len(r.TransferEncoding) > 0 {
			// A body in chunks, and perhaps a length beside it, which net/http has dropped and
			// says nothing of. Whoever is before us may have believed the length: what comes
			// next on this connection is nobody's request (RFC 9112 section 6.1).
			h.Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// resourcePolicy says whose pages may load an answer without asking by CORS. Nobody's
// but our own, so that no answer about a person gets into the process of another
// site; except for what is the same for everybody, and made to be loaded from
// elsewhere, by pages under Cross-Origin-Embedder-Policy too.
func resourcePolicy(path string) string {
	if strings.HasPrefix(path, "/.well-known/") || strings.HasPrefix(path, "/openapi") {
		return "cross-origin"
	}
	return "same-origin"
}
