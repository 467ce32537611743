package verify

import (
	"net/http"

	"github.com/innkeeper-auth/innkeeper/internal/bearer"
)

// RequireAuth lets requests through to next that carry a good access token, and
// puts the [Identity] into their context. Others are refused, with
//
//   - 401 and a Bearer challenge if there is no token or a bad one;
//   - 400 if the Authorization header is malformed or there are several;
//   - 503 and Retry-After if the token cannot be judged.
func (v *Verifier) RequireAuth(next http.Handler) http.Handler {
	return v.require(func(Identity) bool { return true }, next)
}

// RequireRole is [Verifier.RequireAuth] and refuses with 403 whoever lacks the
// role. Nobody has the empty one unless the issuer gave it to them by that name.
func (v *Verifier) RequireRole(role string, next http.Handler) http.Handler {
	return v.require(func(id Identity) bool { return id.HasRole(role) }, next)
}

// RequirePermission is [Verifier.RequireAuth] and refuses with 403 whoever lacks
// the permission.
func (v *Verifier) RequirePermission(permission string, next http.Handler) http.Handler {
	return v.require(func(id Identity) bool { return id.HasPermission(permission) }, next)
}

func (v *Verifier) require(allowed func(Identity) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := v.authenticate(r)
		if err == nil && !allowed(id) {
			err = errForbidden
		}
		if err != nil {
			refusalOf(err).write(w, v.audience)
			return
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), id)))
	})
}

func (v *Verifier) authenticate(r *http.Request) (Identity, error) {
	token, err := bearer.Token(r.Header)
	if err != nil {
		return Identity{}, err
	}
	return v.Verify(r.Context(), token)
}
