package httpapi

import (
	"net/http"

	"github.com/innkeeper-auth/innkeeper"
)

type revokeForm struct {
	_            struct{} `additionalProperties:"true"`
	Token        string   `json:"token" doc:"A refresh token of any generation, or an access token"`
	Hint         string   `json:"token_type_hint,omitempty" doc:"Not needed, and not read"`
	ClientID     string   `json:"client_id,omitempty" example:"innkeeper"`
	ClientSecret string   `json:"client_secret,omitempty"`
}

// revokedBody is the answer to a revocation: an object without members, for clients
// that read JSON.
type revokedBody struct{}

func revokeOperation(a *API) route {
	return oauthRoute[revokeForm](a,
		op("POST /oauth/revoke", "revoke", "End the session of a token (RFC 7009)", 200, 400, 401, 403, 413, 503),
		"RevokeForm", schemaOf[revokedBody](a, "RevokedBody"), anyClient()...)
}

// revoke ends the session of a token, and with it all its tokens (RFC 7009 section
// 2.1). A token that is none of ours is as good as revoked.
func (a *API) revoke(r *http.Request, in *oauthRequest) (any, error) {
	if in.form["token"] == "" {
		return nil, badForm("token is missing")
	}
	if err := a.authority.RevokeToken(r.Context(), in.form["token"], innkeeper.Requester{Actor: in.actor, Client: in.client}); err != nil {
		return nil, err
	}
	return revokedBody{}, nil
}
