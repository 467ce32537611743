package httpapi

import (
	"context"

	"github.com/innkeeper-auth/innkeeper"
)

type roleBody struct {
	Name        string   `json:"name"`
	Permissions []string `json:"permissions" nullable:"false"`
}

type rolesOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Roles []roleBody `json:"roles" nullable:"false"`
	}
}

func (a *API) listRoles(ctx context.Context, _ *struct{}) (*rolesOutput, error) {
	roles, err := a.authority.Roles(ctx)
	if err != nil {
		return nil, err
	}
	out := &rolesOutput{CacheControl: "no-store"}
	out.Body.Roles = make([]roleBody, len(roles))
	for i, role := range roles {
		out.Body.Roles[i] = roleBody{Name: role.Name, Permissions: list(role.Permissions)}
	}
	return out, nil
}

type roleInput struct {
	Name string `path:"name" example:"clerk"`
}

type roleUpdateInput struct {
	Name string `path:"name" example:"clerk"`
	Body struct {
		_           struct{} `additionalProperties:"true"`
		Permissions []string `json:"permissions" nullable:"false" example:"[\"mail:read\"]"`
	}
}

func (a *API) setRole(ctx context.Context, in *roleUpdateInput) (*nothing, error) {
	return done(a.authority.SetRole(ctx, innkeeper.Role{Name: in.Name, Permissions: in.Body.Permissions}, byClerk(ctx)))
}

func (a *API) deleteRole(ctx context.Context, in *roleInput) (*nothing, error) {
	return done(a.authority.DeleteRole(ctx, in.Name, byClerk(ctx)))
}
