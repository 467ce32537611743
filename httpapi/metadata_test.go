package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// TestMetadata holds D2 and D3, and that whatever it names is there.
func TestMetadata(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	a := request(t, "GET", inn.URL+"/.well-known/oauth-authorization-server", "")
	a.want(t, 200, "")
	anyWay := []any{"none", "client_secret_basic", "client_secret_post"}
	want := map[string]any{
		"issuer": inn.URL, "jwks_uri": inn.URL + "/.well-known/jwks.json", "grant_types_supported": []any{"refresh_token"},
		"token_endpoint": inn.URL + "/oauth/token", "token_endpoint_auth_methods_supported": anyWay,
		"revocation_endpoint": inn.URL + "/oauth/revoke", "revocation_endpoint_auth_methods_supported": anyWay,
		"introspection_endpoint": inn.URL + "/oauth/introspect", "introspection_endpoint_auth_methods_supported": anyWay[1:],
	}
	if !reflect.DeepEqual(a.body, want) || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("the metadata is %s %s", a.header.Get("Content-Type"), a.text)
	}
	for _, endpoint := range []string{"token_endpoint", "revocation_endpoint", "introspection_endpoint"} {
		if got := postForm(t, a.body[endpoint].(string)); got.status != 400 && got.status != 401 {
			t.Errorf("%s answers %d", endpoint, got.status)
		}
	}
	request(t, "GET", a.body["jwks_uri"].(string), "").want(t, 200, "")
	// An issuer without a path has no metadata below one.
	request(t, "GET", inn.URL+"/.well-known/oauth-authorization-server/inn", "").want(t, 404, "not_found")
	request(t, "POST", inn.URL+"/.well-known/oauth-authorization-server", "{}").want(t, 405, "invalid_request")
}

// TestMetadataOfAnIssuerWithAPath holds D1: well-known comes between host and path.
func TestMetadataOfAnIssuerWithAPath(t *testing.T) {
	for _, issuer := range []string{"https://example.com/inn", "https://example.com/a/b", "https://example.com/%7Bodd%7D"} {
		ring, err := rootkey.NewRing(rootkey.Generate())
		if err != nil {
			t.Fatal(err)
		}
		authority, err := innkeeper.Open(context.Background(), innkeeper.Config{
			Issuer: issuer, Stores: memory.New().Stores(), RootKeys: ring, Clock: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		api, err := httpapi.New(httpapi.Config{Authority: authority})
		if err != nil {
			t.Fatal(err)
		}
		get := func(path string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			return w
		}
		const wellKnown = "/.well-known/oauth-authorization-server"
		between, plain := get(wellKnown+issuer[len("https://example.com"):]), get(wellKnown)
		if between.Code != 200 || between.Body.String() != plain.Body.String() {
			t.Errorf("%s: %d %s", issuer, between.Code, between.Body)
		}
		for _, path := range []string{wellKnown + "/", wellKnown + "/inn/", wellKnown + "/other"} {
			if w := get(path); w.Code != 404 {
				t.Errorf("%s: %s answers %d", issuer, path, w.Code)
			}
		}
	}
}
