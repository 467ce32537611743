//go:build unix

package storetest

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

// The benchmarks measure what is the same question for every store. What an engine
// counts besides, it reports itself.

const (
	benchSessions = 12_800
	benchFillers  = 64 // as many at once as fill quickly, and the most clients there are
)

// BenchmarkRotate measures refreshes by 1, 16 and 64 clients: random ones of the
// sessions of [Fill]. Besides the time it reports the CPU time that one rotation costs
// this process, and how many there are in a second.
//
// Before the rotations it calls measure, which notes what the engine counts on its own;
// measure returns what reports that after them. Neither is measured.
func BenchmarkRotate(
	b *testing.B, store innkeeper.SessionStore, sessions []innkeeper.Session, measure func(b *testing.B) (report func()),
) {
	for _, clients := range []int{1, 16, benchFillers} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			b.ReportAllocs()
			report := measure(b)
			before := processTime(b)
			b.ResetTimer()
			rotateAll(b, store, sessions, clients)
			b.StopTimer()
			b.ReportMetric(perOperation(b, processTime(b)-before), "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rotations/s")
			report()
		})
	}
}

// BenchmarkSession measures what a request with an access token costs the store,
// where it is asked at all.
func BenchmarkSession(b *testing.B, store innkeeper.SessionStore, sessions []innkeeper.Session) {
	var next atomic.Int64
	b.ReportAllocs()
	before := processTime(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := sessions[next.Add(7919)%int64(len(sessions))].ID
			if _, _, err := store.Session(context.Background(), id); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(perOperation(b, processTime(b)-before), "cpu-µs/op")
}

// rotateAll makes b.N rotations, with each client on its own part of the sessions.
func rotateAll(b *testing.B, store innkeeper.SessionStore, sessions []innkeeper.Session, clients int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	size := len(sessions) / clients
	for client := range clients {
		share := sessions[client*size : (client+1)*size]
		wg.Go(func() {
			for i := 0; next.Add(1) <= int64(b.N); i++ {
				session := &share[i*7919%len(share)]
				// Nearly all within one hour, as sessions are refreshed every 15 minutes.
				at := session.RotatedAt.Add(time.Second)
				rotated, _, err := store.RotateSession(context.Background(), Successor(*session, at))
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

// Fill creates 12,800 sessions, ten for each user, who have one role each.
func Fill(b *testing.B, stores innkeeper.Stores) []innkeeper.Session {
	b.Helper()
	role := innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read", "mail:send", "report:read"}}
	if err := stores.Roles.SetRole(b.Context(), role, innkeeper.Event{}); err != nil {
		b.Fatal(err)
	}
	sessions := make([]innkeeper.Session, benchSessions)
	size := benchSessions / benchFillers
	var wg sync.WaitGroup
	for filler := range benchFillers {
		share := sessions[filler*size : (filler+1)*size]
		wg.Go(func() {
			var user innkeeper.User
			for i := range share {
				if i%10 == 0 {
					user = NewUser(fmt.Sprintf("user-%d-%d", filler, i), role.Name)
					if err := stores.Users.CreateUser(b.Context(), user, innkeeper.Event{}); err != nil {
						b.Error(err)
						return
					}
				}
				share[i] = NewSession(user)
				if err := stores.Sessions.CreateSession(b.Context(), innkeeper.Birth{Session: share[i]}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return sessions
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

// perOperation is the share of one operation in microseconds.
func perOperation(b *testing.B, total time.Duration) float64 {
	return float64(total) / float64(b.N) / 1e3
}
