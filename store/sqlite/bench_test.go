//go:build unix

package sqlite_test

import (
	"testing"

	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

// BenchmarkRotate measures refreshes at the store, as durable as they are in
// production. The CPU time is all that there is: the client's, that of the commit, that
// of the checkpoints.
func BenchmarkRotate(b *testing.B) {
	store := open(b, newPath(b))
	sessions := storetest.Fill(b, store.Stores())
	storetest.BenchmarkRotate(b, store.Stores().Sessions, sessions, func(b *testing.B) func() {
		commits := store.Commits()
		return func() { b.ReportMetric(float64(b.N)/float64(store.Commits()-commits), "rotations/commit") }
	})
}

func BenchmarkSession(b *testing.B) {
	store := open(b, newPath(b))
	storetest.BenchmarkSession(b, store.Stores().Sessions, storetest.Fill(b, store.Stores()))
}
