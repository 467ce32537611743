package httpapi

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/innkeeper-auth/innkeeper"
)

type serviceBody struct {
	ID         string    `json:"id" doc:"Of the credential: a service may have several"`
	Name       string    `json:"name" example:"mailer" doc:"The client_id"`
	Scopes     []string  `json:"scopes" nullable:"false"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at,omitzero" doc:"To the minute or so"`
}

func serviceOf(service *innkeeper.Service) serviceBody {
	body := serviceBody{
		ID: service.ID.String(), Name: service.Name, Scopes: []string{},
		CreatedAt: service.CreatedAt, LastUsedAt: service.LastUsedAt,
	}
	for _, scope := range service.Scopes {
		body.Scopes = append(body.Scopes, string(scope))
	}
	return body
}

type servicesOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Services []serviceBody `json:"services" nullable:"false" doc:"By name, the oldest of a name first"`
	}
}

func (a *API) listServices(ctx context.Context, _ *struct{}) (*servicesOutput, error) {
	services, err := a.authority.Services(ctx)
	if err != nil {
		return nil, err
	}
	out := &servicesOutput{CacheControl: "no-store"}
	out.Body.Services = make([]serviceBody, len(services))
	for i := range services {
		out.Body.Services[i] = serviceOf(&services[i])
	}
	return out, nil
}

type newServiceInput struct {
	Body struct {
		_      struct{} `additionalProperties:"true"`
		Name   string   `json:"name" example:"mailer" doc:"1 to 64 of a-z 0-9 . _ -"`
		Scopes []string `json:"scopes,omitempty" nullable:"false" enum:"admin,events:read,introspect,sessions:create,sessions:end,users:read"`
	}
}

type newServiceBody struct {
	serviceBody
	Secret string `json:"secret" doc:"Shown this once"`
}

// TransformSchema implements [huma.SchemaTransformer].
func (newServiceBody) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	return embedding[serviceBody](r, s)
}

type newServiceOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         newServiceBody
}

func (a *API) addService(ctx context.Context, in *newServiceInput) (*newServiceOutput, error) {
	scopes := make([]innkeeper.ServiceScope, len(in.Body.Scopes))
	for i, scope := range in.Body.Scopes {
		scopes[i] = innkeeper.ServiceScope(scope)
	}
	service, secret, err := a.authority.AddService(ctx, in.Body.Name, scopes, byClerk(ctx))
	if err != nil {
		return nil, err
	}
	out := &newServiceOutput{CacheControl: "no-store"}
	out.Body.serviceBody, out.Body.Secret = serviceOf(service), secret.Reveal()
	return out, nil
}

type serviceInput struct {
	ID string `path:"id" doc:"The id of a credential"`
}

func (a *API) removeService(ctx context.Context, in *serviceInput) (*nothing, error) {
	id, err := innkeeper.ParseServiceID(in.ID)
	if err != nil {
		return nil, err
	}
	return done(a.authority.RemoveService(ctx, id, byClerk(ctx)))
}
