package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bearer"
)

type callerKey struct{}

// callerOf returns who is signed in. Only operations behind requireBearer or
// requireAdmin may call it.
func callerOf(ctx context.Context) *innkeeper.Caller {
	caller, ok := ctx.Value(callerKey{}).(*innkeeper.Caller)
	if !ok {
		panic("operation is not behind requireBearer")
	}
	return caller
}

// authenticate returns who sent the request.
func (a *API) authenticate(ctx context.Context, authorization []string) (*innkeeper.Caller, error) {
	token, err := bearer.Token(http.Header{"Authorization": authorization})
	if err != nil {
		return nil, err
	}
	return a.authority.Authenticate(ctx, token)
}

// requireBearer lets an operation be called by people who are signed in.
func (a *API) requireBearer(ctx huma.Context, next func(huma.Context)) {
	a.requireCaller(ctx, next, func(*innkeeper.Caller) error { return nil })
}

// requireAdmin lets an operation be called by people with the role admin. The
// role is the store's, not the token's: taking it away is felt at once.
func (a *API) requireAdmin(ctx huma.Context, next func(huma.Context)) {
	a.requireCaller(ctx, next, func(caller *innkeeper.Caller) error {
		if slices.Contains(caller.Subject.Roles, innkeeper.RoleAdmin) {
			return nil
		}
		return forbidden("this needs the role admin")
	})
}

func (a *API) requireCaller(ctx huma.Context, next func(huma.Context), allowed func(*innkeeper.Caller) error) {
	var authorization []string
	ctx.EachHeader(func(name, value string) {
		if name == "Authorization" {
			authorization = append(authorization, value)
		}
	})
	caller, err := a.authenticate(ctx.Context(), authorization)
	if err == nil {
		err = allowed(caller)
	}
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	next(huma.WithValue(ctx, callerKey{}, caller))
}
