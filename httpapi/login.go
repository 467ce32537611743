package httpapi

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

type loginBody struct {
	_        struct{} `additionalProperties:"true"`
	Username string   `json:"username" example:"ada" doc:"Case does not matter"`
	Password string   `json:"password" example:"correct horse battery staple"`
	Delivery string   `json:"delivery,omitempty" enum:"cookie,body" default:"cookie" doc:"How the refresh token travels, for the whole life of the session: an HttpOnly cookie for browsers, the body for everything else"`
	Device   string   `json:"device,omitempty" maxLength:"100" example:"Ada's laptop" doc:"Shown in the list of sessions"`
	Known    string   `json:"device_token,omitempty" maxLength:"200" doc:"With delivery body: that of the latest answer to this user on this device, also after a logout. It signs nobody in; with it, nobody who guesses the password elsewhere slows this device down"`
}

type loginInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   loginBody
}

type signupInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		_        struct{} `additionalProperties:"true"`
		Username string   `json:"username" example:"ada" doc:"Case does not matter"`
		Password string   `json:"password" example:"correct horse battery staple"`
		Email    string   `json:"email,omitempty" example:"ada@example.com"`
		Delivery string   `json:"delivery,omitempty" enum:"cookie,body" default:"cookie"`
		Device   string   `json:"device,omitempty" maxLength:"100"`
	}
}

func (a *API) signup(ctx context.Context, in *signupInput) (*tokensOutput, error) {
	req := innkeeper.SignupRequest{Email: in.Body.Email, LoginRequest: innkeeper.LoginRequest{
		Username: in.Body.Username, Password: in.Body.Password, Delivery: delivery(in.Body.Delivery), Device: in.Body.Device,
		Client: clientOf(ctx), Replaces: a.replaced(in.Cookie),
	}}
	grant, err := a.authority.SignUp(ctx, req)
	if err != nil {
		return nil, err
	}
	return a.tokens(grant, req.Replaces != ""), nil
}

func (a *API) login(ctx context.Context, in *loginInput) (*tokensOutput, error) {
	req := innkeeper.LoginRequest{
		Username: in.Body.Username, Password: in.Body.Password, Delivery: delivery(in.Body.Delivery), Device: in.Body.Device,
		Client: clientOf(ctx), Replaces: a.replaced(in.Cookie), Devices: a.cookies.readDevice(in.Cookie),
	}
	if in.Body.Known != "" {
		req.Devices = append(req.Devices, in.Body.Known)
	}
	grant, err := a.authority.Login(ctx, req)
	if err != nil {
		return nil, err
	}
	return a.tokens(grant, req.Replaces != ""), nil
}

// replaced returns the refresh cookie that a sign-in arrived with. A sign-in is
// not refused for cookies that make no sense.
func (a *API) replaced(cookieHeader string) string {
	token, err := a.authority.PickRefreshToken(a.cookies.read(cookieHeader))
	if err != nil {
		return ""
	}
	return token
}

// delivery defaults to the one that scripts cannot read.
func delivery(text string) innkeeper.Delivery {
	if text == "" {
		return innkeeper.DeliverByCookie
	}
	return innkeeper.Delivery(text)
}

type tokensOutput struct {
	SetCookie    []string `header:"Set-Cookie" doc:"With delivery cookie: the refresh token, and a readable hint without secrets; after a sign-in also what makes the device known at the next one"`
	CacheControl string   `header:"Cache-Control"`
	Vary         []string `header:"Vary"`
	Body         tokensBody
}

type tokensBody struct {
	AccessToken      string      `json:"access_token" doc:"A JWT (RFC 9068); send it as Authorization: Bearer"`
	TokenType        string      `json:"token_type" enum:"Bearer"`
	ExpiresIn        int         `json:"expires_in" example:"900" doc:"Seconds left to the access token"`
	Session          grantedBody `json:"session"`
	User             personBody  `json:"user"`
	RefreshToken     string      `json:"refresh_token,omitempty" doc:"Only with delivery body. Single use: keep the one of the latest answer"`
	RefreshExpiresIn int         `json:"refresh_expires_in,omitempty" doc:"Seconds left to the refresh token; only with delivery body"`
	DeviceToken      string      `json:"device_token,omitempty" doc:"Only with delivery body, after a sign-in. Keep it, also beyond a logout, and send it with the next sign-in of this user; it is good for a year"`
}

type grantedBody struct {
	ID         string    `json:"id" doc:"The sid claim"`
	Generation uint32    `json:"generation" doc:"How many refresh tokens the session has had"`
	ExpiresAt  time.Time `json:"expires_at" doc:"The absolute end; no refresh moves it"`
}

type personBody struct {
	ID          string   `json:"id" doc:"The sub claim"`
	Username    string   `json:"username"`
	Email       string   `json:"email,omitempty"`
	Roles       []string `json:"roles" nullable:"false"`
	Permissions []string `json:"permissions" nullable:"false"`
}

// tokens answers with a grant. The refresh token goes where its session's
// delivery says and nowhere else. A cookie that the sign-in has made worthless is
// taken back when no new one takes its place.
func (a *API) tokens(grant *innkeeper.Grant, clearCookie bool) *tokensOutput {
	out := &tokensOutput{
		CacheControl: "no-store",
		Vary:         []string{"Cookie"},
		Body: tokensBody{
			AccessToken: grant.AccessToken,
			TokenType:   "Bearer",
			ExpiresIn:   int(grant.ExpiresIn / time.Second),
			Session: grantedBody{
				ID: grant.Session.ID.String(), Generation: grant.Session.Generation, ExpiresAt: grant.Session.ExpiresAt,
			},
			User: person(grant.Subject),
		},
	}
	switch {
	case grant.Session.Delivery == innkeeper.DeliverByBody:
		out.Body.RefreshToken = grant.RefreshToken.Reveal()
		out.Body.RefreshExpiresIn = int(grant.RefreshExpiresIn / time.Second)
		out.Body.DeviceToken = grant.Device.Reveal()
		if clearCookie {
			out.SetCookie = a.cookies.clear()
		}
	default:
		out.SetCookie = a.cookies.set(grant)
	}
	return out
}

func person(subject innkeeper.Subject) personBody {
	return personBody{
		ID: subject.ID.String(), Username: subject.Username, Email: subject.Email,
		Roles: list(subject.Roles), Permissions: list(subject.Permissions),
	}
}

// list makes an empty list print as [] and not as null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
