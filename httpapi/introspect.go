package httpapi

import (
	"errors"
	"net/http"

	"github.com/innkeeper-auth/innkeeper"
)

type introspectForm struct {
	_            struct{} `additionalProperties:"true"`
	Token        string   `json:"token" doc:"A refresh token or an access token"`
	Hint         string   `json:"token_type_hint,omitempty" doc:"Not needed, and not read"`
	ClientID     string   `json:"client_id,omitempty" doc:"The name of a service, here or in the header Authorization"`
	ClientSecret string   `json:"client_secret,omitempty"`
}

// introspectionBody is the answer of RFC 7662 section 2.2. What is said of the user
// is as of now.
type introspectionBody struct {
	Active      bool     `json:"active" doc:"Nothing else is there if it is false"`
	TokenType   string   `json:"token_type,omitempty" enum:"Bearer" doc:"Of access tokens only: do not let anybody in with a refresh token"`
	ClientID    string   `json:"client_id,omitempty"`
	Issuer      string   `json:"iss,omitempty"`
	Subject     string   `json:"sub,omitempty"`
	Audience    []string `json:"aud,omitempty" nullable:"false"`
	ID          string   `json:"jti,omitempty"`
	IssuedAt    int64    `json:"iat,omitempty"`
	ExpiresAt   int64    `json:"exp,omitempty"`
	AuthTime    int64    `json:"auth_time,omitempty"`
	AuthMethods []string `json:"amr,omitempty" nullable:"false"`
	SessionID   string   `json:"sid,omitempty"`
	Username    string   `json:"username,omitempty"`
	Roles       []string `json:"roles,omitempty" nullable:"false"`
	Permissions []string `json:"permissions,omitempty" nullable:"false"`
}

func introspectOperation(a *API) route {
	return oauthRoute[introspectForm](a,
		op("POST /oauth/introspect", "introspect", "Whether a token is good, for services (RFC 7662)", 200, 400, 401, 403, 413, 503),
		"IntrospectForm", schemaOf[introspectionBody](a, "IntrospectionBody"), map[string][]string{serviceBasicScheme: {string(innkeeper.ScopeIntrospect)}})
}

// introspect tells a service with the scope introspect about a token.
func (a *API) introspect(r *http.Request, in *oauthRequest) (any, error) {
	if in.service == nil { // RFC 7662 section 2.1: whoever asks must be somebody
		return nil, &oauthError{
			Code: oauthInvalidClient, Description: "send the name and the secret of a service with the scope introspect",
			status: http.StatusUnauthorized, challenge: oauthBasicChallenge,
		}
	}
	err := a.authority.AuthorizeService(r.Context(), in.service, innkeeper.ScopeIntrospect, in.client)
	switch {
	case err != nil:
		return nil, &oauthError{
			Code: oauthUnauthorized, Description: "the service lacks the scope introspect", status: http.StatusForbidden,
		}
	case in.form["token"] == "":
		return nil, badForm("token is missing")
	}
	found, err := a.authority.Introspect(r.Context(), in.form["token"])
	switch {
	case errors.Is(err, innkeeper.ErrTokenInactive):
		return &introspectionBody{}, nil
	case err != nil:
		return nil, err
	}
	return a.introspected(found), nil
}

func (a *API) introspected(found *innkeeper.Introspection) *introspectionBody {
	body := &introspectionBody{
		Active: true, ClientID: innkeeper.ClientID, Issuer: a.authority.Issuer(), Subject: found.Subject.ID.String(),
		ExpiresAt: found.ExpiresAt.Unix(), AuthTime: found.Session.CreatedAt.Unix(), AuthMethods: found.Session.Methods,
		SessionID: found.Session.ID.String(), Username: found.Subject.Username,
	}
	if claims := found.Claims; claims != nil {
		body.TokenType, body.Audience, body.ID, body.IssuedAt = "Bearer", claims.Audience, claims.ID, claims.IssuedAt.Unix()
		body.Roles, body.Permissions = found.Subject.Roles, found.Subject.Permissions
	}
	return body
}
