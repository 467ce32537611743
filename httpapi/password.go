package httpapi

import (
	"context"

	"github.com/innkeeper-auth/innkeeper"
)

type passwordChangeInput struct {
	Body struct {
		_       struct{} `additionalProperties:"true"`
		Current string   `json:"current_password"`
		New     string   `json:"new_password"`
	}
}

func (a *API) changePassword(ctx context.Context, in *passwordChangeInput) (*tokensOutput, error) {
	grant, err := a.authority.ChangePassword(ctx, callerOf(ctx), innkeeper.PasswordChange{
		Current: in.Body.Current, New: in.Body.New, Client: clientOf(ctx),
	})
	if err != nil {
		return nil, err
	}
	return a.tokens(grant, false), nil
}

type passwordInput struct {
	ID   string `path:"id"`
	Body struct {
		_        struct{} `additionalProperties:"true"`
		Password string   `json:"password"`
	}
}

func (a *API) setPassword(ctx context.Context, in *passwordInput) (*nothing, error) {
	id, err := innkeeper.ParseUserID(in.ID)
	if err != nil {
		return nil, err
	}
	return done(a.authority.SetPassword(ctx, id, in.Body.Password, actorOf(ctx)))
}
