package httpapi

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

type openSessionInput struct {
	Body struct {
		_         struct{} `additionalProperties:"true"`
		UserID    string   `json:"user_id,omitempty" doc:"Who has authenticated; or username"`
		Username  string   `json:"username,omitempty" example:"ada"`
		Methods   []string `json:"amr,omitempty" nullable:"false" maxItems:"16" example:"[\"hwk\",\"user\"]" doc:"How, in the words of RFC 8176: the amr claim"`
		AuthTime  int64    `json:"auth_time,omitempty" doc:"When, in seconds since 1970: the auth_time claim, from which the end of the session is counted; now if it is left out"`
		Delivery  string   `json:"delivery,omitempty" enum:"cookie,body" default:"cookie" doc:"How the refresh token travels, for the whole life of the session"`
		Device    string   `json:"device,omitempty" maxLength:"100" doc:"Shown in the list of sessions"`
		IP        string   `json:"ip,omitempty" example:"2001:db8::7" doc:"The address of the person, not yours"`
		UserAgent string   `json:"user_agent,omitempty" doc:"The user agent of the person"`
	}
}

// openSession opens a session for somebody whom the caller has authenticated. The
// answer is that of a sign-in, for the caller to pass on.
func (a *API) openSession(ctx context.Context, in *openSessionInput) (*tokensOutput, error) {
	body, clerk := &in.Body, clerkOf(ctx)
	req := innkeeper.OpenSessionRequest{
		Username: body.Username, Methods: body.Methods, Delivery: delivery(body.Delivery), Device: body.Device,
		Client: innkeeper.Client{UserAgent: body.UserAgent}, AllowAdmin: clerk.isAdmin(),
	}
	if body.UserID != "" {
		id, err := innkeeper.ParseUserID(body.UserID)
		if err != nil {
			return nil, err
		}
		req.UserID = id
	}
	if body.AuthTime != 0 {
		req.AuthTime = time.Unix(body.AuthTime, 0).UTC()
	}
	if body.IP != "" {
		addr, err := netip.ParseAddr(body.IP)
		if err != nil || addr.Zone() != "" {
			return nil, &innkeeper.InputError{Field: "ip", Detail: "give one address, without a port"}
		}
		req.Client.Addr = addr.Unmap()
	}
	grant, err := a.authority.OpenSession(ctx, req, clerk.by)
	if errors.Is(err, innkeeper.ErrUserIsAdmin) {
		// It lacks the scope for that, which is worth an event like any other time.
		_ = a.authority.AuthorizeService(ctx, clerk.service, innkeeper.ScopeAdmin, clerk.by.Client)
	}
	if err != nil {
		return nil, err
	}
	return a.tokens(grant, false), nil
}
