package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/bearer"
)

// clerk is who calls /admin: a person with the role admin, or a service whose
// credential has a scope for it.
type clerk struct {
	by      innkeeper.Requester
	service *innkeeper.Service // nil: a person with the role admin
}

// isAdmin says who may do anything, and so become anybody.
func (c *clerk) isAdmin() bool {
	return c.service == nil || c.service.Allows(innkeeper.ScopeAdmin)
}

type clerkKey struct{}

// clerkOf returns who calls. Only operations behind requireAdmin may call it.
func clerkOf(ctx context.Context) *clerk {
	c, ok := ctx.Value(clerkKey{}).(*clerk)
	if !ok {
		panic("operation is not behind requireAdmin")
	}
	return c
}

// byClerk says who calls and from where, for the audit log.
func byClerk(ctx context.Context) innkeeper.By { return clerkOf(ctx).by }

// requireAdmin lets an operation be called by people with the role admin, and by
// services with a scope. Role and scope are the store's, not the token's: taking them
// away is felt at once.
func (a *API) requireAdmin(scope innkeeper.ServiceScope) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		c, err := a.admit(ctx.Context(), authorizations(ctx), scope)
		if err != nil {
			a.refuse(ctx, err)
			return
		}
		next(huma.WithValue(ctx, clerkKey{}, c))
	}
}

func (a *API) admit(ctx context.Context, authorization []string, scope innkeeper.ServiceScope) (*clerk, error) {
	token, err := bearer.Token(http.Header{"Authorization": authorization})
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(token, innkeeper.ServiceSecretPrefix) {
		return a.admitService(ctx, token, scope)
	}
	caller, err := a.authority.Authenticate(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := a.authority.AuthorizeAdmin(ctx, caller, clientOf(ctx)); err != nil {
		return nil, forbidden(err.Error())
	}
	by := innkeeper.Requester{Actor: innkeeper.UserActor(caller.Subject.ID), Client: clientOf(ctx), SessionID: caller.Session.ID}
	return &clerk{by: by}, nil
}

func (a *API) admitService(ctx context.Context, secret string, scope innkeeper.ServiceScope) (*clerk, error) {
	service, err := a.authority.AuthenticateService(ctx, innkeeper.ServiceLogin{Secret: secret, Client: clientOf(ctx)})
	if err != nil {
		return nil, err
	}
	err = a.authority.AuthorizeService(ctx, service, scope, clientOf(ctx))
	if errors.Is(err, innkeeper.ErrServiceScope) {
		p := forbidden("this needs the scope " + string(scope))
		p.header.Set("WWW-Authenticate", p.header.Get("WWW-Authenticate")+`, scope="`+string(scope)+`"`) // RFC 6750 section 3
		return nil, p
	}
	if err != nil {
		return nil, err
	}
	by := innkeeper.Requester{Actor: service.Actor(), Client: clientOf(ctx)}
	return &clerk{by: by, service: service}, nil
}
