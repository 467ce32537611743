package httpapi

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
)

type userInput struct {
	ID string `path:"id" doc:"The id of a user: the sub claim"`
}

type userBody struct {
	personBody
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// TransformSchema implements [huma.SchemaTransformer].
func (userBody) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	return embedding[personBody](r, s)
}

type userOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         userBody
}

func userOf(user *innkeeper.User) userBody {
	return userBody{
		personBody: person(user.Subject), Disabled: user.Disabled,
		CreatedAt: user.CreatedAt, UpdatedAt: user.UpdatedAt,
	}
}

func oneUser(user *innkeeper.User, err error) (*userOutput, error) {
	if err != nil {
		return nil, err
	}
	return &userOutput{CacheControl: "no-store", Body: userOf(user)}, nil
}

type userPageInput struct {
	After string `query:"after" doc:"The username of the last user of the page before"`
}

type usersOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Users []userBody `json:"users" nullable:"false" doc:"By username, at most 100"`
	}
}

func (a *API) listUsers(ctx context.Context, in *userPageInput) (*usersOutput, error) {
	users, err := a.authority.Users(ctx, in.After)
	if err != nil {
		return nil, err
	}
	out := &usersOutput{CacheControl: "no-store"}
	out.Body.Users = make([]userBody, len(users))
	for i := range users {
		out.Body.Users[i] = userOf(&users[i])
	}
	return out, nil
}

type newUserInput struct {
	Body struct {
		_        struct{} `additionalProperties:"true"`
		Username string   `json:"username" example:"ada"`
		Password string   `json:"password"`
		Email    string   `json:"email,omitempty"`
		Roles    []string `json:"roles,omitempty" nullable:"false"`
	}
}

func (a *API) createUser(ctx context.Context, in *newUserInput) (*userOutput, error) {
	return oneUser(a.authority.CreateUser(ctx, innkeeper.NewUser{
		Username: in.Body.Username, Password: in.Body.Password, Email: in.Body.Email, Roles: in.Body.Roles,
	}, byClerk(ctx)))
}

func (a *API) getUser(ctx context.Context, in *userInput) (*userOutput, error) {
	id, err := innkeeper.ParseUserID(in.ID)
	if err != nil {
		return nil, err
	}
	return oneUser(a.authority.User(ctx, id))
}

type userUpdateInput struct {
	ID   string `path:"id"`
	Body struct {
		_        struct{}  `additionalProperties:"true"`
		Email    *string   `json:"email,omitempty" doc:"Empty to remove"`
		Roles    *[]string `json:"roles,omitempty" doc:"Replaces all"`
		Disabled *bool     `json:"disabled,omitempty" doc:"true ends every session of the user"`
	}
}

func (a *API) updateUser(ctx context.Context, in *userUpdateInput) (*userOutput, error) {
	id, err := innkeeper.ParseUserID(in.ID)
	if err != nil {
		return nil, err
	}
	return oneUser(a.authority.UpdateUser(ctx, id, innkeeper.UserUpdate{
		Email: in.Body.Email, Roles: in.Body.Roles, Disabled: in.Body.Disabled,
	}, byClerk(ctx)))
}

func (a *API) deleteUser(ctx context.Context, in *userInput) (*nothing, error) {
	id, err := innkeeper.ParseUserID(in.ID)
	if err != nil {
		return nil, err
	}
	return done(a.authority.DeleteUser(ctx, id, byClerk(ctx)))
}

type userSessionsInput struct {
	ID    string `path:"id"`
	After string `query:"after" doc:"The id of the last session of the page before"`
}

func (a *API) listUserSessions(ctx context.Context, in *userSessionsInput) (*sessionsOutput, error) {
	id, err := innkeeper.ParseUserID(in.ID)
	if err != nil {
		return nil, err
	}
	if _, err := a.authority.User(ctx, id); err != nil {
		return nil, err
	}
	return a.sessionsOf(ctx, id, in.After, clerkOf(ctx).by.SessionID)
}

func (a *API) endUserSessions(ctx context.Context, in *userInput) (*nothing, error) {
	id, err := innkeeper.ParseUserID(in.ID)
	if err != nil {
		return nil, err
	}
	return done(a.authority.EndUserSessions(ctx, id, innkeeper.ReasonAdmin, byClerk(ctx)))
}
