package httpapi

import (
	"net/http"

	"github.com/innkeeper-auth/innkeeper"
)

type tokenForm struct {
	_            struct{} `additionalProperties:"true"`
	GrantType    string   `json:"grant_type" enum:"refresh_token"`
	RefreshToken string   `json:"refresh_token" doc:"Of a session with delivery body"`
	Scope        string   `json:"scope,omitempty" doc:"Leave it out: sessions have no scopes"`
	ClientID     string   `json:"client_id,omitempty" example:"innkeeper" doc:"innkeeper, or the name of a service together with its secret, here or in the header Authorization"`
	ClientSecret string   `json:"client_secret,omitempty"`
}

// tokenBody is the answer of RFC 6749 section 5.1.
type tokenBody struct {
	AccessToken      string `json:"access_token" doc:"A JWT (RFC 9068)"`
	TokenType        string `json:"token_type" enum:"Bearer"`
	ExpiresIn        int    `json:"expires_in" example:"900" doc:"Seconds left to the access token"`
	RefreshToken     string `json:"refresh_token" doc:"Single use: keep the one of the latest answer"`
	RefreshExpiresIn int    `json:"refresh_expires_in" example:"1209600" doc:"Seconds left to the refresh token"`
}

func tokenOperation(a *API) route {
	return oauthRoute[tokenForm](a,
		op("POST /oauth/token", "token", "The refresh of RFC 6749, for clients of OAuth", 200, 400, 401, 403, 413, 429, 503),
		"TokenForm", schemaOf[tokenBody](a, "TokenBody"), anyClient()...).
		header("Idempotency-Key", "As in POST /auth/refresh. Without it, a repeated request is a theft unless the server has a leeway")
}

// token is the refresh for clients of OAuth (RFC 6749 section 6).
func (a *API) token(r *http.Request, in *oauthRequest) (any, error) {
	switch in.form["grant_type"] {
	case "refresh_token":
	case "":
		return nil, badForm("grant_type is missing")
	default:
		// The password grant above all (RFC 9700 section 2.4): apps sign people in with
		// POST /auth/login.
		return nil, &oauthError{
			Code: oauthUnsupported, Description: "the only grant_type is refresh_token", status: http.StatusBadRequest,
		}
	}
	switch {
	case in.form["refresh_token"] == "":
		return nil, badForm("refresh_token is missing")
	case in.form["scope"] != "":
		return nil, &oauthError{
			Code: oauthInvalidScope, Description: "sessions have no scopes; leave scope out", status: http.StatusBadRequest,
		}
	}
	keys := r.Header.Values("Idempotency-Key")
	if len(keys) > 1 {
		return nil, badForm("Idempotency-Key is there twice")
	}
	key, err := parseIdempotencyKey(r.Header.Get("Idempotency-Key"))
	if err != nil {
		return nil, err
	}
	grant, err := a.authority.Refresh(r.Context(), innkeeper.RefreshRequest{
		RefreshTokens: []string{in.form["refresh_token"]}, Delivery: innkeeper.DeliverByBody, Key: key, Client: in.client,
	})
	if err != nil {
		return nil, err
	}
	return &tokenBody{
		AccessToken: grant.AccessToken, TokenType: "Bearer", ExpiresIn: seconds(grant.ExpiresIn),
		RefreshToken: grant.RefreshToken.Reveal(), RefreshExpiresIn: seconds(grant.RefreshExpiresIn),
	}, nil
}
