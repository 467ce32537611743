package httpapi

import (
	"context"
	"net/http"

	"github.com/innkeeper-auth/innkeeper"
)

type refreshInput struct {
	Cookie         string       `header:"Cookie" hidden:"true"`
	IdempotencyKey string       `header:"Idempotency-Key" example:"\"k3vT0c8mZ1q9fWxY\";generation=3" doc:"16 to 255 random characters, made before the first try and sent with every try at refreshing this generation. It proves that a retry is yours"`
	Body           *refreshBody `doc:"Empty for cookie sessions"`
}

type refreshBody struct {
	_            struct{} `additionalProperties:"true"`
	RefreshToken string   `json:"refresh_token,omitempty" doc:"With delivery body"`
}

func (a *API) refresh(ctx context.Context, in *refreshInput) (*tokensOutput, error) {
	key, err := parseIdempotencyKey(in.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	req := innkeeper.RefreshRequest{Key: key, Client: clientOf(ctx)}
	req.RefreshTokens, req.Delivery, err = a.presented(in.Cookie, in.Body)
	if err != nil {
		return nil, err
	}
	grant, err := a.authority.Refresh(ctx, req)
	if err != nil {
		return nil, err
	}
	return a.tokens(grant, false), nil
}

// presented returns the refresh tokens of a request and how they came. Two ways
// at once are refused before anything is consumed.
func (a *API) presented(cookieHeader string, body *refreshBody) ([]string, innkeeper.Delivery, error) {
	cookies := a.cookies.read(cookieHeader)
	inBody := body != nil && body.RefreshToken != ""
	switch {
	case inBody && len(cookies) > 0:
		return nil, "", newProblem(http.StatusBadRequest, codeInvalidRequest,
			"the request carries a refresh cookie and a refresh_token in its body; send one")
	case inBody:
		return []string{body.RefreshToken}, innkeeper.DeliverByBody, nil
	case len(cookies) == 0:
		return nil, "", missingRefreshToken()
	}
	return cookies, innkeeper.DeliverByCookie, nil
}

func missingRefreshToken() *Problem {
	return newProblem(http.StatusUnauthorized, "refresh_token_missing", "there is no refresh token in the request; sign in")
}
