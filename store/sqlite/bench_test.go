//go:build unix

package sqlite_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// BenchmarkRotate measures refreshes at the store, as durable as they are in
// production: random ones of 20,000 sessions, whose users have one role each.
// Besides the time it reports the CPU time of one rotation, everything included:
// the client, the commit, the checkpoints.
func BenchmarkRotate(b *testing.B) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			store := open(b, newPath(b))
			shares := fill(b, store.Stores(), clients, 20_000)
			b.ReportAllocs()
			commits, before := store.Commits(), processTime(b)
			b.ResetTimer()
			rotateAll(b, store.Stores().Sessions, shares)
			b.StopTimer()
			b.ReportMetric(float64(processTime(b)-before)/float64(b.N)/1e3, "cpu-µs/op")
			b.ReportMetric(float64(b.N)/float64(store.Commits()-commits), "rotations/commit")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rotations/s")
		})
	}
}

// BenchmarkSession measures what a request with an access token costs the store,
// where it is asked at all.
func BenchmarkSession(b *testing.B) {
	store := open(b, newPath(b))
	sessions := fill(b, store.Stores(), 16, 20_000)[0]
	var next atomic.Int64
	b.ReportAllocs()
	before := processTime(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := sessions[next.Add(7919)%int64(len(sessions))].ID
			if _, _, err := store.Stores().Sessions.Session(context.Background(), id); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(processTime(b)-before)/float64(b.N)/1e3, "cpu-µs/op")
}

// rotateAll makes b.N rotations with one goroutine for each share of sessions.
func rotateAll(b *testing.B, store innkeeper.SessionStore, shares [][]innkeeper.Session) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for _, share := range shares {
		wg.Go(func() {
			at := share[0].CreatedAt
			for i := 0; next.Add(1) <= int64(b.N); i++ {
				at = at.Add(time.Second)
				session := &share[i*7919%len(share)]
				rotated, _, err := store.RotateSession(context.Background(), successor(session, at))
				if err != nil {
					b.Error(err)
					return
				}
				*session = rotated
			}
		})
	}
	wg.Wait()
}

// fill creates sessions, ten for each user, and deals them out.
func fill(b *testing.B, stores innkeeper.Stores, shares, sessions int) [][]innkeeper.Session {
	b.Helper()
	role := innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read", "mail:send", "report:read"}}
	if err := stores.Roles.SetRole(b.Context(), role, innkeeper.Event{}); err != nil {
		b.Fatal(err)
	}
	dealt := make([][]innkeeper.Session, shares)
	var wg sync.WaitGroup
	for share := range shares {
		wg.Go(func() {
			var user innkeeper.User
			for i := range sessions / shares {
				if i%10 == 0 {
					user = newUser(fmt.Sprintf("user-%d-%d", share, i), role.Name)
					if err := stores.Users.CreateUser(b.Context(), user, innkeeper.Event{}); err != nil {
						b.Error(err)
						return
					}
				}
				session := newSession(user)
				if err := stores.Sessions.CreateSession(b.Context(), innkeeper.Birth{Session: session}); err != nil {
					b.Error(err)
					return
				}
				dealt[share] = append(dealt[share], session)
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return dealt
}

// processTime is what the process has used of all CPUs.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
