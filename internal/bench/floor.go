package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// floor answers every request like a refresh, of no session: it decodes the
// request, signs one access token and encodes the answer.
type floor struct {
	keys *keyring.Ring
}

func newFloor(ctx context.Context) (*floor, error) {
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		return nil, err
	}
	keys, err := keyring.Open(ctx, keyring.Config{Store: memory.New(), RootKeys: roots}, time.Now())
	return &floor{keys: keys}, err
}

// tokens is the answer of a sign-in or a refresh.
type tokens struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Session     struct {
		ID         string    `json:"id"`
		Generation uint32    `json:"generation"`
		ExpiresAt  time.Time `json:"expires_at"`
	} `json:"session"`
	User struct {
		ID          string   `json:"id"`
		Username    string   `json:"username"`
		Roles       []string `json:"roles"`
		Permissions []string `json:"permissions"`
	} `json:"user"`
	RefreshToken     string `json:"refresh_token"`
	RefreshExpiresIn int    `json:"refresh_expires_in"`
}

// noToken is as long as a refresh token.
var noToken = "ikr_" + strings.Repeat("A", 102)

// ServeHTTP implements [http.Handler].
func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if in.RefreshToken == "" { // a sign-in
		in.RefreshToken = noToken
	}
	now := time.Now()
	token, err := f.keys.Sign(accesstoken.Claims{
		Issuer: "http://localhost:8080", Subject: "TVSfyJ-uWz-1gHCD9vifwg", SessionID: "6OGpPYrJzyPdGGLuaHnP4g",
		Audience: []string{"http://localhost:8080"}, ExpiresAt: now.Add(15 * time.Minute), IssuedAt: now, AuthTime: now,
		ID: "1Iw67LGYkH3NzVznbbyl7g", ClientID: "innkeeper", AuthMethods: []string{"pwd"}, Epoch: "HJQP6dZJg1U", Username: username,
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var out tokens
	out.AccessToken, out.TokenType, out.ExpiresIn = token, "Bearer", 900
	out.RefreshToken, out.RefreshExpiresIn = in.RefreshToken, 1209600
	out.Session.ID, out.Session.Generation, out.Session.ExpiresAt = "6OGpPYrJzyPdGGLuaHnP4g", 1, now
	out.User.ID, out.User.Username = "TVSfyJ-uWz-1gHCD9vifwg", username
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, "bench: floor:", err)
	}
}
