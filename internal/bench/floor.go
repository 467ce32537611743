package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// floor answers every request like a refresh, of no session: it decodes the
// request, signs one access token and encodes the answer.
//
// Above a store it swaps a row as well, and still parses no token, derives no
// secret and checks nothing: the least that a refresh could cost with that store.
type floor struct {
	keys  *keyring.Ring
	store innkeeper.SessionStore // nil: none
	user  innkeeper.User         // whose sessions the store holds
	rows  sync.Map               // refresh token of a client to its *innkeeper.Session
}

func newFloor(ctx context.Context, store innkeeper.SessionStore, user innkeeper.User) (*floor, error) {
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		return nil, err
	}
	keys, err := keyring.Open(ctx, keyring.Config{Store: memory.New(), RootKeys: roots}, time.Now())
	return &floor{keys: keys, store: store, user: user}, err
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
	err := json.NewDecoder(r.Body).Decode(&in)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if in.RefreshToken == "" { // a sign-in
		in.RefreshToken = noToken
		if f.store != nil {
			in.RefreshToken, err = f.signIn(r.Context())
		}
	} else if f.store != nil {
		err = f.swap(r.Context(), in.RefreshToken)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	now := time.Now()
	token, err := f.keys.Sign(r.Context(), accesstoken.Claims{
		Issuer: "http://localhost:8080", Subject: "TVSfyJ-uWz-1gHCD9vifwg", SessionID: "6OGpPYrJzyPdGGLuaHnP4g",
		Audience: []string{"http://localhost:8080"}, ExpiresAt: now.Add(15 * time.Minute), IssuedAt: now, AuthTime: now,
		ID: "1Iw67LGYkH3NzVznbbyl7g", ClientID: "innkeeper", AuthMethods: []string{"pwd"}, Epoch: "HJQP6dZJg1U", Username: username,
	}, now)
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

// signIn stores a session, whose only client keeps one name for it.
func (f *floor) signIn(ctx context.Context) (name string, err error) {
	now := time.Now()
	row := &innkeeper.Session{
		UserID: f.user.ID, Epoch: f.user.Epoch, Delivery: innkeeper.DeliverByBody, CreatedAt: now, RotatedAt: now,
		ExpiresAt: now.Add(time.Hour).Truncate(time.Second), RefreshExpiresAt: now.Add(time.Hour).Truncate(time.Second),
		Generation: 1, Methods: []string{"pwd"},
	}
	_, _ = rand.Read(row.ID[:]) // never fails, since Go 1.24
	_, _ = rand.Read(row.SecretHash[:])
	name = noToken[:len(noToken)-26] + rand.Text()
	f.rows.Store(name, row)
	return name, f.store.CreateSession(ctx, innkeeper.Birth{Session: *row})
}

func (f *floor) swap(ctx context.Context, name string) error {
	found, ok := f.rows.Load(name)
	if !ok {
		return errors.New("nobody has signed in under this name")
	}
	row := found.(*innkeeper.Session) //nolint:errcheck // nothing else is ever stored
	rotation := innkeeper.Rotation{
		SessionID: row.ID, Presented: row.SecretHash, Generation: row.Generation + 1, At: time.Now(), RefreshExpiresAt: row.RefreshExpiresAt,
	}
	_, _ = rand.Read(rotation.SecretHash[:])
	_, _ = rand.Read(rotation.Salt[:])
	var err error
	*row, _, err = f.store.RotateSession(ctx, rotation)
	return err
}
