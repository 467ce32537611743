package client_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// TestSecretsDoNotShow prints everything that holds a token, in every way.
func TestSecretsDoNotShow(t *testing.T) {
	i := newInn(t, nil)
	var out, told lockedBuffer
	store := client.NewMemoryStore()
	source := i.signedIn(t, store, func(cfg *client.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.OnRefresh = func(token client.Token) { fmt.Fprintf(&told, "%+v", token) }
	})
	i.expire()
	token, session := mustToken(t, source), mustLoad(t, store)
	transport, err := client.NewTransport(source, client.TransportConfig{Origins: []string{i.URL}})
	check(t, err)
	eventually(t, "the hook", func() bool { return strings.Contains(told.String(), "Generation:2") })
	hidden := struct{ secret client.Secret }{token.Access}
	for _, value := range []any{token, session, *session, source, store, transport, token.Access, hidden, &hidden} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("value", "value", value)
		_ = json.NewEncoder(&out).Encode(value) // some cannot be
	}
	i.setFault(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) })
	i.expire()
	_, err = i.source(t, store).Token(t.Context())
	fmt.Fprintf(&out, "%v %+v", err, errors.Unwrap(err))
	for _, text := range []string{out.String(), told.String()} {
		if found := innkeepertest.FindSecrets(text); found != nil || strings.Contains(text, session.RefreshToken.Reveal()[:20]) {
			t.Errorf("%q is shown in %s", found, text)
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing was redacted: the test proves nothing")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(text)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
