package httpapi

import (
	"context"
	"errors"

	"github.com/innkeeper-auth/innkeeper"
)

type logoutInput struct {
	Cookie        string `header:"Cookie" hidden:"true"`
	Authorization string `header:"Authorization" hidden:"true"`
	Body          *logoutBody
}

type logoutBody struct {
	_            struct{} `additionalProperties:"true"`
	Scope        string   `json:"scope,omitempty" enum:"this,others,everywhere" default:"this" doc:"Which sessions end"`
	RefreshToken string   `json:"refresh_token,omitempty" doc:"With delivery body; or send the access token"`
}

type logoutOutput struct {
	SetCookie     []string `header:"Set-Cookie" doc:"Takes the cookies back, if this session has ended"`
	ClearSiteData string   `header:"Clear-Site-Data" doc:"The cache, if this session has ended"`
	CacheControl  string   `header:"Cache-Control"`
}

// clearSiteData lets a browser forget the pages of whoever has signed out, those
// behind its back button too. No more than that (docs/decisions/0023): "cookies" would
// take those of every application on the domain, and "storage" the drafts of the
// application, the idempotency keys of refreshes that are on their way, and the note by
// which other tabs learn of the sign-out. Our own cookies are taken back by name.
const clearSiteData = `"cache"`

func (a *API) logout(ctx context.Context, in *logoutInput) (*logoutOutput, error) {
	if in.Body == nil {
		in.Body = &logoutBody{}
	}
	scope := innkeeper.LogoutScope(in.Body.Scope)
	if scope == "" {
		scope = innkeeper.LogoutThis
	}
	cookies := a.cookies.read(in.Cookie)
	req := innkeeper.LogoutRequest{Scope: scope, RefreshTokens: cookies, Client: clientOf(ctx)}
	if in.Body.RefreshToken != "" {
		req.RefreshTokens = append(req.RefreshTokens, in.Body.RefreshToken)
	}
	caller, err := a.optionalCaller(ctx, in.Authorization, len(req.RefreshTokens) > 0)
	if err != nil {
		return nil, err
	}
	req.Caller = caller

	err = a.authority.Logout(ctx, req)
	// A cookie that was never ours, or that belongs to nothing any more, is still
	// to be taken back: its owner asked to be signed out, and is.
	if errors.Is(err, innkeeper.ErrRefreshTokenInvalid) && scope == innkeeper.LogoutThis && in.Body.RefreshToken == "" {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	out := &logoutOutput{CacheControl: "no-store"}
	if scope != innkeeper.LogoutOthers {
		out.ClearSiteData = clearSiteData
		if len(cookies) > 0 {
			out.SetCookie = a.cookies.clear()
		}
	}
	return out, nil
}

// optionalCaller returns who sent the access token, nil if none was sent or if a
// refresh token can speak instead of one that has expired.
func (a *API) optionalCaller(ctx context.Context, authorization string, hasRefreshToken bool) (*innkeeper.Caller, error) {
	if authorization == "" {
		if !hasRefreshToken {
			return nil, missingRefreshToken()
		}
		return nil, nil
	}
	caller, err := a.authenticate(ctx, []string{authorization})
	if err != nil && hasRefreshToken && !errors.Is(err, innkeeper.ErrUnavailable) {
		return nil, nil
	}
	return caller, err
}
