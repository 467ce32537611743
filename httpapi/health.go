package httpapi

import "context"

type healthOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Status string `json:"status" enum:"ok"`
	}
}

func healthy() *healthOutput {
	out := &healthOutput{CacheControl: "no-store"}
	out.Body.Status = "ok"
	return out
}

func (a *API) alive(context.Context, *struct{}) (*healthOutput, error) { return healthy(), nil }

func (a *API) ready(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	if err := a.authority.Ready(ctx); err != nil {
		return nil, err
	}
	return healthy(), nil
}
