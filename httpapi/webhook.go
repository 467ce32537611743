package httpapi

import (
	"context"
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
)

type webhookBody struct {
	ID             string    `json:"id"`
	URL            string    `json:"url" doc:"May hold a secret of the receiver's"`
	Events         []string  `json:"events" nullable:"false" doc:"What it is told"`
	CreatedAt      time.Time `json:"created_at"`
	OldSecretUntil time.Time `json:"old_secret_until,omitzero" doc:"Until then the secret before signs too"`
	DeliveredAt    time.Time `json:"delivered_at,omitzero" doc:"When it has confirmed something last"`
	FailedAt       time.Time `json:"failed_at,omitzero" doc:"When something failed last"`
	LastError      string    `json:"last_error,omitempty" doc:"Of that time"`
	Failures       int       `json:"failures" doc:"In a row, until now"`
	RestUntil      time.Time `json:"rest_until,omitzero" doc:"After failures in a row, nothing is sent before"`
	NextRetryAt    time.Time `json:"next_retry_at,omitzero" doc:"When something that has failed is tried again"`
}

func webhookOf(hook *innkeeper.Webhook) webhookBody {
	return webhookBody{
		ID: hook.ID.String(), URL: hook.URL, Events: hook.Events, CreatedAt: hook.CreatedAt, OldSecretUntil: hook.OldSecretUntil,
		DeliveredAt: hook.DeliveredAt, FailedAt: hook.FailedAt, LastError: hook.LastError, Failures: hook.Failures,
		RestUntil: hook.RestUntil, NextRetryAt: hook.NextRetry,
	}
}

type webhooksOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Webhooks []webhookBody `json:"webhooks" nullable:"false" doc:"Oldest first"`
	}
}

func (a *API) listWebhooks(ctx context.Context, _ *struct{}) (*webhooksOutput, error) {
	hooks, err := a.authority.Webhooks(ctx)
	if err != nil {
		return nil, err
	}
	out := &webhooksOutput{CacheControl: "no-store"}
	out.Body.Webhooks = make([]webhookBody, len(hooks))
	for i := range hooks {
		out.Body.Webhooks[i] = webhookOf(&hooks[i])
	}
	return out, nil
}

type newWebhookInput struct {
	Body struct {
		_      struct{} `additionalProperties:"true"`
		URL    string   `json:"url" example:"https://app.example.com/innkeeper" doc:"https; http only for localhost"`
		Events []string `json:"events,omitempty" nullable:"false" example:"[\"refresh_token.reused\",\"session.ended:admin\"]" doc:"Kinds, or kinds with a reason, or * for all. Thefts and what happens to accounts, if it is left out"`
	}
}

type newWebhookBody struct {
	webhookBody
	Secret string `json:"secret" example:"whsec_…" doc:"Verifies what is sent. It is shown here and never again"`
}

// TransformSchema implements [huma.SchemaTransformer].
func (newWebhookBody) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	return embedding[webhookBody](r, s)
}

type newWebhookOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         newWebhookBody
}

func (a *API) addWebhook(ctx context.Context, in *newWebhookInput) (*newWebhookOutput, error) {
	hook, secret, err := a.authority.AddWebhook(ctx, in.Body.URL, in.Body.Events, byClerk(ctx))
	if err != nil {
		return nil, err
	}
	return &newWebhookOutput{
		CacheControl: "no-store", Body: newWebhookBody{webhookBody: webhookOf(hook), Secret: secret.Reveal()},
	}, nil
}

type webhookInput struct {
	ID string `path:"id" doc:"The id of a webhook"`
}

func (a *API) removeWebhook(ctx context.Context, in *webhookInput) (*nothing, error) {
	id, err := innkeeper.ParseWebhookID(in.ID)
	if err != nil {
		return nil, err
	}
	return done(a.authority.RemoveWebhook(ctx, id, byClerk(ctx)))
}

type secretInput struct {
	ID      string `path:"id"`
	Overlap int64  `query:"overlap" minimum:"0" maximum:"2592000" default:"86400" doc:"For how many seconds the secret before signs too; 0 for one that was stolen"`
}

type secretOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Secret string `json:"secret" example:"whsec_…" doc:"It is shown here and never again"`
	}
}

func (a *API) rotateWebhookSecret(ctx context.Context, in *secretInput) (*secretOutput, error) {
	id, err := innkeeper.ParseWebhookID(in.ID)
	if err != nil {
		return nil, err
	}
	overlap := time.Duration(in.Overlap) * time.Second
	if overlap == 0 {
		overlap = -1 // none: there zero is the default
	}
	secret, err := a.authority.RotateWebhookSecret(ctx, id, overlap, byClerk(ctx))
	if err != nil {
		return nil, err
	}
	out := &secretOutput{CacheControl: "no-store"}
	out.Body.Secret = secret.Reveal()
	return out, nil
}

type deliveryBody struct {
	ID        string          `json:"id" doc:"The header webhook-id"`
	Kind      string          `json:"kind"`
	EventAt   time.Time       `json:"event_at"`
	State     string          `json:"state" enum:"pending,dead" doc:"pending: it is tried again; dead: it was given up"`
	Attempts  int             `json:"attempts"`
	NextAt    time.Time       `json:"next_at" doc:"When it is tried again; when it was given up"`
	TriedAt   time.Time       `json:"tried_at"`
	LastError string          `json:"last_error"`
	Body      json.RawMessage `json:"body" doc:"What is sent"`
}

type deliveriesInput struct {
	ID    string `path:"id"`
	State string `query:"state" enum:"pending,dead" doc:"Only those; both if it is left out"`
	// Deliveries are ordered by time and ID, so both make the cursor.
	AfterTime time.Time `query:"after_time" doc:"next_at of the last delivery of the page before"`
	AfterID   string    `query:"after_id" doc:"id of the last delivery of the page before"`
}

type deliveriesOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Deliveries []deliveryBody `json:"deliveries" nullable:"false" doc:"By next_at, at most 100. What was delivered is not among them"`
	}
}

func (a *API) listDeliveries(ctx context.Context, in *deliveriesInput) (*deliveriesOutput, error) {
	id, err := innkeeper.ParseWebhookID(in.ID)
	if err != nil {
		return nil, err
	}
	var after *innkeeper.WebhookDelivery
	if !in.AfterTime.IsZero() {
		after = &innkeeper.WebhookDelivery{NextAt: in.AfterTime, ID: in.AfterID}
	}
	deliveries, err := a.authority.Deliveries(ctx, id, innkeeper.WebhookDeliveryState(in.State), after)
	if err != nil {
		return nil, err
	}
	out := &deliveriesOutput{CacheControl: "no-store"}
	out.Body.Deliveries = make([]deliveryBody, len(deliveries))
	for i, d := range deliveries {
		out.Body.Deliveries[i] = deliveryBody{
			ID: d.ID, Kind: string(d.Kind), EventAt: d.EventAt, State: string(d.State), Attempts: d.Attempts,
			NextAt: d.NextAt, TriedAt: d.TriedAt, LastError: d.LastError, Body: d.Body,
		}
	}
	return out, nil
}

type retryInput struct {
	ID       string `path:"id"`
	Delivery string `query:"delivery" doc:"The id of one delivery; all that were given up, if it is left out"`
}

type retryOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Retried int `json:"retried" doc:"How many are tried again, at once"`
	}
}

func (a *API) retryDeliveries(ctx context.Context, in *retryInput) (*retryOutput, error) {
	id, err := innkeeper.ParseWebhookID(in.ID)
	if err != nil {
		return nil, err
	}
	out := &retryOutput{CacheControl: "no-store"}
	out.Body.Retried, err = a.authority.RetryDeliveries(ctx, id, in.Delivery, byClerk(ctx))
	if err != nil {
		return nil, err
	}
	return out, nil
}
