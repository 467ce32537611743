package webhook_test

import (
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/webhook"
)

// block returns the code of one language in docs/webhooks.md.
func block(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(text)
	if match == nil {
		t.Fatalf("the manual has no %s", language)
	}
	return string(match[1])
}

// accepts sends a genuine message to a receiver, and one that was changed.
func accepts(t *testing.T, url string, m innkeeper.WebhookMessage) {
	t.Helper()
	m.URL = url
	sender := webhook.NewSender(webhook.Config{ThisMachine: true})
	if err := sender.Send(t.Context(), m); err != nil {
		t.Errorf("a genuine message: %v", err)
	}
	signedByOthers := m
	signedByOthers.Secrets = message(t, "http://127.0.0.1:1/").Secrets
	old := m
	old.At = m.At.Add(-time.Hour)
	for name, bad := range map[string]innkeeper.WebhookMessage{"signed by others": signedByOthers, "old": old} {
		var refused *innkeeper.WebhookRefusedError
		if err := sender.Send(t.Context(), bad); !errors.As(err, &refused) || refused.Status != 400 {
			t.Errorf("a message %s: %v", name, err)
		}
	}
}

// TestManualInGo runs what the manual tells people to paste.
func TestManualInGo(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(source), "\n"+block(t, "go")) {
		t.Error("docs/webhooks.md and webhook/example_test.go differ")
	}
	m := message(t, "http://127.0.0.1:1/")
	var handled []string
	handler, err := receive(m.Secrets[0].Reveal(), func(kind, user string) { handled = append(handled, kind+user) })
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	accepts(t, server.URL, m)
	if len(handled) != 1 || handled[0] != "role.set" {
		t.Errorf("it has handled %v", handled)
	}
}

// TestManualInNode does the same with Node.
func TestManualInNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("the tests need Node: ", err)
	}
	m := message(t, "http://127.0.0.1:1/")
	script := filepath.Join(t.TempDir(), "receive.mjs")
	if err := os.WriteFile(script, []byte(block(t, "js")), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), node, script)
	cmd.Env = append(os.Environ(), "WEBHOOK_SECRET="+m.Secrets[0].Reveal(), fmt.Sprintf("PORT=%d", port))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for range 500 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	accepts(t, "http://"+address, m)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // says that it was killed
	if got := strings.TrimSpace(out.String()); got != "role.set undefined" {
		t.Errorf("it says %q", got)
	}
}
