package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bearer"
)

type callerKey struct{}

// callerOf returns who is signed in. Only operations behind requireBearer may call
// it.
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
	caller, err := a.authenticate(ctx.Context(), authorizations(ctx))
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	next(huma.WithValue(ctx, callerKey{}, caller))
}

// authorizations returns the Authorization headers of a request.
func authorizations(ctx huma.Context) []string {
	var values []string
	ctx.EachHeader(func(name, value string) {
		if name == "Authorization" {
			values = append(values, value)
		}
	})
	return values
}
