package httpapi

import (
	"context"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/password"
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
	return done(a.authority.SetPassword(ctx, id, in.Body.Password, byClerk(ctx)))
}

type passwordCheckInput struct {
	Body struct {
		_        struct{} `additionalProperties:"true"`
		Password string   `json:"password"`
		Username string   `json:"username,omitempty" doc:"A password must not contain it"`
		Email    string   `json:"email,omitempty" doc:"Nor the part of it before the @"`
	}
}

type passwordCheckOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Accepted bool   `json:"accepted" doc:"Whether it would be accepted as a new password"`
		Why      string `json:"why,omitempty" doc:"Which rule would refuse it, as with password_rejected"`
		Score    int    `json:"score" minimum:"0" maximum:"4" doc:"How hard it is to guess: 0 is refused or guessed at once, 4 is strong"`
		Hint     string `json:"hint" doc:"What to tell the person, in English"`
	}
}

// strengths are the words for each score of an accepted password.
var strengths = [password.MaxScore + 1]string{
	"accepted, and easily guessed: add two words or more",
	"accepted, and easily guessed: add a word or two",
	"fair: one more word makes it much stronger",
	"good",
	"strong",
}

// checkPassword judges a password for a form. It never fails for what the password
// is like: that is what was asked.
func (a *API) checkPassword(_ context.Context, in *passwordCheckInput) (*passwordCheckOutput, error) {
	judgment := a.authority.JudgePassword(in.Body.Password, password.About{Username: in.Body.Username, Email: in.Body.Email})
	out := &passwordCheckOutput{CacheControl: "no-store"}
	out.Body.Score = judgment.Score
	if rejected := judgment.Rejected; rejected != nil {
		out.Body.Why, out.Body.Hint = string(rejected.Reason), rejected.Detail+"; "+rejected.Hint
		return out, nil
	}
	out.Body.Accepted, out.Body.Hint = true, strengths[judgment.Score]
	return out, nil
}
