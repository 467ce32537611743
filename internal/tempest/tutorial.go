package tempest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// tutorial is a BASELINE, and not to be copied: "on 401 refresh and retry" over a file,
// as tutorials on refresh tokens teach it, and of the careful kind: one refresh at a
// time in a process, the file read again before each and replaced as a whole, and only a
// refusal by the server signs out, no failure of the network does. What it lacks is what
// tutorials lack: idempotency keys, and a lock between processes.
type tutorial struct {
	server, file  string
	http          http.Client
	entered, left func(string) // which session, and why

	mu     sync.Mutex
	tokens tutorialTokens
}

type tutorialTokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Session string `json:"session"`
}

// call makes one call of the API.
func (t *tutorial) call(ctx context.Context) error {
	access, err := t.access()
	if err != nil {
		return err
	}
	status, err := t.get(ctx, access)
	if err != nil || status != http.StatusUnauthorized {
		return statusError(status, err)
	}
	if access, err = t.refresh(ctx, access); err != nil {
		return err
	}
	return statusError(t.get(ctx, access))
}

func statusError(status int, err error) error {
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

func (t *tutorial) get(ctx context.Context, access string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.server+apiPath, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+access)
	resp, err := t.http.Do(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func (t *tutorial) access() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tokens.Access == "" {
		if err := t.load(); err != nil {
			return "", errSignedOut
		}
		t.entered(t.tokens.Session)
	}
	return t.tokens.Access, nil
}

// refresh trades the refresh token, unless somebody was faster.
func (t *tutorial) refresh(ctx context.Context, refused string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tokens.Access != refused && t.tokens.Access != "" {
		return t.tokens.Access, nil
	}
	if err := t.load(); err != nil {
		t.tokens = tutorialTokens{}
		return "", errSignedOut
	}
	if t.entered(t.tokens.Session); t.tokens.Access != refused {
		return t.tokens.Access, nil
	}
	status, err := t.trade(ctx, refreshPath, map[string]string{"refresh_token": t.tokens.Refresh})
	switch {
	case err != nil:
		return "", err
	case status == http.StatusOK:
		return t.tokens.Access, nil
	case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusConflict:
		t.tokens = tutorialTokens{}
		_ = os.Remove(t.file) // another process may have
		t.left(fmt.Sprintf("status %d", status))
		return "", errSignedOut
	}
	return "", fmt.Errorf("status %d: try later", status)
}

func (t *tutorial) login(ctx context.Context, username, password string) error {
	status, err := t.trade(ctx, "/auth/login", map[string]string{"username": username, "password": password, "delivery": "body"})
	return statusError(status, err)
}

// trade sends JSON and keeps the tokens that come back.
func (t *tutorial) trade(ctx context.Context, path string, what map[string]string) (int, error) {
	text, err := json.Marshal(what)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.server+path, bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := t.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	var got struct {
		tutorialTokens

		Session struct {
			ID string `json:"id"`
		} `json:"session"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		return 0, err
	}
	t.tokens = tutorialTokens{got.Access, got.Refresh, got.Session.ID}
	return resp.StatusCode, t.save()
}

func (t *tutorial) load() error {
	text, err := os.ReadFile(t.file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &t.tokens)
}

func (t *tutorial) save() error {
	text, err := json.Marshal(t.tokens) //nolint:gosec // G117: the file is for them
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(t.file), 0o700); err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%d", t.file, os.Getpid())
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, t.file)
}
