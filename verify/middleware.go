package verify

import (
	"net/http"
	"time"

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

// RequireFresh lets requests through to next only while the revocations that are
// known are at most maxAge old, and answers others with 503 and Retry-After: for what
// must not happen in a session that ended longer ago than that. It says nothing about
// the token, so next is another of these:
//
//	mux.Handle("POST /transfer", v.RequireFresh(5*time.Second, v.RequireAuth(transfer)))
//
// The verifier asks the issuer at least twice in maxAge from now on. RequireFresh
// panics if it does not follow revocations, or maxAge is less than a second, as
// [Verifier.KeepWithin] does: no request would ever pass, or few.
func (v *Verifier) RequireFresh(maxAge time.Duration, next http.Handler) http.Handler {
	if v.feed == nil || maxAge < minFresh {
		panic("verify: RequireFresh needs Config.FollowRevocations, and a second or more")
	}
	v.feed.keepWithin(maxAge)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := v.checkFresh(r.Context(), maxAge); err != nil {
			refusalOf(err).write(w, v.audience)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RequireRecentAuth is [Verifier.RequireAuth] and refuses whoever has proved who they
// are longer than maxAge ago, with 401 and the challenge of RFC 9470: a refresh does
// not help, a new sign-in does.
func (v *Verifier) RequireRecentAuth(maxAge time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := v.authenticate(r)
		refused := refusalOf(err)
		if err == nil && v.now().Sub(id.AuthTime) > maxAge+v.skew {
			err, refused = errNotRecent, refusalOf(errNotRecent)
			refused.maxAge = maxAge
		}
		if err != nil {
			refused.write(w, v.audience)
			return
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), id)))
	})
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
