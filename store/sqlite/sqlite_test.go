package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) innkeeper.Stores {
		return open(t, newPath(t)).Stores()
	}, storetest.RefusesTornNames)
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "innkeeper.db") }

func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	return storetest.Opened(t, store, err)
}

// start is a moment with microseconds.
var start = storetest.Start
