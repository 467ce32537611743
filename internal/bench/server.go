package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/internal/load"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

const (
	maxClients = 64
	username   = "ada"
	secretWord = "correct horse battery staple"
)

// server is one side of the comparison and its clients.
type server struct {
	url     string
	clients []load.Client
	close   func()
}

// listen serves a handler on a loopback port.
func listen(ctx context.Context, handler http.Handler) (*server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := httpapi.NewServer("", handler)
	go func() {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "bench: serve:", err)
		}
	}()
	return &server{url: "http://" + listener.Addr().String(), close: func() { _ = s.Close() }}, nil
}

// startFloor serves the floor: it decodes, signs one access token and encodes.
func startFloor(ctx context.Context) (*server, error) {
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		return nil, err
	}
	keys, err := keyring.Open(ctx, keyring.Config{Store: memory.New(), RootKeys: roots}, time.Now())
	if err != nil {
		return nil, err
	}
	s, err := listen(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { floorHandler(w, r, keys) }))
	if err != nil {
		return nil, err
	}
	for range maxClients {
		c := &client{http: newHTTPClient(), url: s.url + "/auth/refresh"}
		c.token = "ikr_" + string(bytes.Repeat([]byte{'A'}, 102))
		s.clients = append(s.clients, c.refresh)
	}
	return s, nil
}

func floorHandler(w http.ResponseWriter, r *http.Request, keys *keyring.Ring) {
	var in struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	token, err := keys.Sign(accesstoken.Claims{
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

// startSQLite serves the whole product over a new SQLite file, and signs every
// client in.
func startSQLite(ctx context.Context) (*server, error) {
	dir, err := os.MkdirTemp("", "innkeeper-bench-")
	if err != nil {
		return nil, err
	}
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "innkeeper.db")})
	if err != nil {
		return nil, err
	}
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		return nil, err
	}
	authority, err := innkeeper.Open(ctx, innkeeper.Config{
		Issuer: "http://localhost:8080", Stores: store.Stores(), RootKeys: roots, Clock: time.Now,
	})
	if err != nil {
		return nil, err
	}
	api, err := httpapi.New(httpapi.Config{Authority: authority})
	if err != nil {
		return nil, err
	}
	s, err := listen(ctx, api)
	if err != nil {
		return nil, err
	}
	stop := s.close
	s.close = func() {
		stop()
		_ = store.Close()
		_ = os.RemoveAll(dir)
	}
	if _, err := authority.CreateUser(ctx, innkeeper.NewUser{Username: username, Password: secretWord}, innkeeper.ActorOperator); err != nil {
		return nil, err
	}
	for range maxClients {
		c := &client{http: newHTTPClient(), url: s.url + "/auth/refresh"}
		if err := c.signIn(ctx, s.url+"/auth/login"); err != nil {
			return nil, err
		}
		s.clients = append(s.clients, c.refresh)
	}
	return s, nil
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

// client refreshes one session again and again. Both sides have the same one.
type client struct {
	http  *http.Client
	url   string
	token string
	count int
}

func newHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 30 * time.Second}
}

func (c *client) signIn(ctx context.Context, url string) error {
	return c.post(ctx, url, map[string]string{"username": username, "password": secretWord, "delivery": "body"})
}

func (c *client) refresh(ctx context.Context) error {
	return c.post(ctx, c.url, map[string]string{"refresh_token": c.token})
}

func (c *client) post(ctx context.Context, url string, body map[string]string) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	c.count++
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", `"benchmark-key-`+strconv.Itoa(1_000_000+c.count)+`"`)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, answer)
	}
	var t tokens
	if err := json.Unmarshal(answer, &t); err != nil {
		return err
	}
	c.token = t.RefreshToken
	return nil
}
