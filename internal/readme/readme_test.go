// Package readme runs what the README tells people to paste.
package readme

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

const root = "../.."

// blocks returns the fenced code of one language in the README, in order.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, match[1])
	}
	if len(found) == 0 {
		t.Fatalf("the README has no %s", language)
	}
	return found
}

// TestWalk pastes the walk into a shell. Only the port, the folders and the wait
// for the server are the test's own.
func TestWalk(t *testing.T) {
	port := freePort(t)
	bin, data := t.TempDir(), filepath.Join(t.TempDir(), "data")
	script := strings.NewReplacer(
		"localhost:8080", "localhost:"+port,
		"-o bin/", "-o "+bin+"/",
		"bin/innkeeper", filepath.Join(bin, "innkeeper"),
		"serve &", "serve & trap 'kill $!; wait' EXIT\nuntil curl -sf http://localhost:"+port+"/readyz >/dev/null; do sleep 0.1; done",
	).Replace(strings.Join(blocks(t, "sh"), "\n"))
	// The server lives as long as the shell; should it hang, the deadline ends both.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", "set -eu\n"+script)
	shell.Dir = root
	shell.Env = append(os.Environ(), "INNKEEPER_DATA="+data, "INNKEEPER_LISTEN=127.0.0.1:"+port)
	shell.WaitDelay = 10 * time.Second
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	rest := string(output)
	for _, want := range []string{
		`"username":"ada"`, `"code":"refresh_token_reused"`, `"code":"session_ended"`, `"reason":"reuse"`,
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%s is missing, or in another order:\n%s", want, output)
		}
		rest = after
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	addr, err := testengine.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestGoCompiles puts the Go code into a program and has it checked.
func TestGoCompiles(t *testing.T) {
	for i, block := range blocks(t, "go") {
		used, result := "verify", "mux"
		if strings.Contains(block, "client.") {
			used, result = "client", "api"
		}
		program := fmt.Sprintf(`package main

import (
	"net/http"

	"github.com/innkeeper-auth/innkeeper/%s"
)

var mail, auditLog http.Handler

func main() {
%s
	_, _ = %s, err
}
`, used, block, result)
		file := filepath.Join(t.TempDir(), fmt.Sprintf("block%d.go", i))
		if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		vet := exec.CommandContext(t.Context(), "go", "vet", file)
		vet.Dir = root
		if output, err := vet.CombinedOutput(); err != nil {
			t.Fatalf("%v:\n%s", err, output)
		}
	}
}
