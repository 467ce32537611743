package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/tempest"
)

// TestClients is a short run of `go run ./internal/soak clients`, with the browser: just
// long enough for that to be killed once.
func TestClients(t *testing.T) {
	t.Parallel()
	i := open(t, innConfig{store: onSQLite, nodes: 1, serve: tempestuous()})
	worker := filepath.Join(t.TempDir(), "soak")
	if err := build(t.Context(), worker, "internal/soak"); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	o, err := putThrough(t.Context(), i, tempest.Config{
		Worker: []string{worker, "worker"}, Client: tempest.Ours, Rotation: tempest.Keys,
		Seed: uint64(time.Now().Unix()), Duration: 50 * time.Second, Out: &out,
	})
	if err != nil {
		t.Fatalf("%s%v", &out, err)
	}
	o.Print(&out)
	t.Log(&out)
	for _, problem := range o.Problems {
		t.Error(problem)
	}
	if o.Kills["browsers"] == 0 {
		t.Error("no browser was killed")
	}
}
