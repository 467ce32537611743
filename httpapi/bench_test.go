package httpapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// BenchmarkRefresh measures what a refresh costs above the store and below the
// socket: the API and the domain, signing included.
func BenchmarkRefresh(b *testing.B) {
	api, token := openBench(b)
	b.ReportAllocs()
	for b.Loop() {
		body, err := json.Marshal(map[string]string{"refresh_token": token})
		if err != nil {
			b.Fatal(err)
		}
		req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/auth/refresh", bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", `"benchmark-key-0001"`)
		resp := httptest.NewRecorder()
		api.ServeHTTP(resp, req)
		token = refreshTokenOf(b, resp)
	}
}

func openBench(b *testing.B) (api *httpapi.API, token string) {
	b.Helper()
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		b.Fatal(err)
	}
	authority, err := innkeeper.Open(b.Context(), innkeeper.Config{
		Issuer: "http://localhost:8080", Stores: memory.New().Stores(), RootKeys: roots, Clock: time.Now,
		RefreshLimit: -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	ada := innkeeper.NewUser{Username: "ada", Password: "correct horse battery staple"}
	if _, err := authority.CreateUser(b.Context(), ada, innkeeper.ActorOperator); err != nil {
		b.Fatal(err)
	}
	grant, err := authority.Login(b.Context(), innkeeper.LoginRequest{
		Username: ada.Username, Password: ada.Password, Delivery: innkeeper.DeliverByBody,
	})
	if err != nil {
		b.Fatal(err)
	}
	api, err = httpapi.New(httpapi.Config{Authority: authority})
	if err != nil {
		b.Fatal(err)
	}
	return api, grant.RefreshToken.Reveal()
}

func refreshTokenOf(b *testing.B, resp *httptest.ResponseRecorder) string {
	b.Helper()
	var tokens struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(resp.Body.Bytes(), &tokens); err != nil || resp.Code != http.StatusOK {
		b.Fatalf("%d %s", resp.Code, resp.Body)
	}
	return tokens.RefreshToken
}
