package revoked_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper/internal/revoked"
)

// The vector is printed in the documentation, for verifiers in other languages.
func TestUserID(t *testing.T) {
	got := revoked.UserID("https://auth.example.com", "TVSfyJ-uWz-1gHCD9vifwg", "HJQP6dZJg1U")
	if want := "N7U6Dc8FV0PWR_1FVR-0zg"; got != want {
		t.Errorf("UserID = %s, want %s", got, want)
	}
}

// A set is two sets that age, and one that does not.
func TestSetIsLikeItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set revoked.Set
		young, old, keys := map[revoked.Entry]bool{}, map[revoked.Entry]bool{}, map[revoked.Entry]bool{}
		entry := rapid.Custom(func(t *rapid.T) revoked.Entry {
			return revoked.Entry{
				Kind: rapid.SampledFrom([]revoked.Kind{revoked.Session, revoked.User, revoked.Key}).Draw(t, "kind"),
				ID:   strings.Repeat(rapid.StringMatching(`[a-c]{0,3}`).Draw(t, "id"), rapid.SampledFrom([]int{1, 1, 7, 600}).Draw(t, "times")),
			}
		})
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				e := entry.Draw(t, "entry")
				set.Add(e)
				if e.Kind == revoked.Key {
					keys[e] = true
				} else {
					young[e] = true
				}
			},
			"age": func(*rapid.T) {
				set.Age()
				old, young = young, map[revoked.Entry]bool{}
			},
			"": func(t *rapid.T) {
				e := entry.Draw(t, "entry")
				if got, want := set.Has(e.Kind, e.ID), young[e] || old[e] || keys[e]; got != want {
					t.Fatalf("Has(%v) = %v, want %v", e, got, want)
				}
				if got, want := set.Len(), len(young)+len(old)+len(keys); got != want {
					t.Fatalf("Len = %d, want %d", got, want)
				}
			},
		})
	})
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	var set revoked.Set
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 1000 {
				id := strconv.Itoa(worker*1000 + i)
				set.Add(revoked.Entry{Kind: revoked.Session, ID: id})
				if !set.Has(revoked.Session, id) {
					t.Errorf("%s was added and is not there", id)
				}
			}
		})
		group.Go(func() {
			for range 1000 {
				set.Has(revoked.User, "absent")
				set.Len()
			}
		})
	}
	group.Wait()
	set.Age()
	if n := set.Len(); n != 4000 {
		t.Errorf("%d entries after they have aged once, want 4000", n)
	}
}

// What ages is found all the while by whoever looks it up just then.
func TestNothingIsLostWhileItAges(t *testing.T) {
	known := ids(1000)
	for range 20 {
		var set revoked.Set
		for i, id := range known {
			set.Add(revoked.Entry{Kind: []revoked.Kind{revoked.Session, revoked.User}[i%2], ID: id})
		}
		var group sync.WaitGroup
		aged := make(chan struct{})
		group.Go(func() {
			set.Age()
			close(aged)
		})
		group.Go(func() {
			for last := false; !last; {
				select {
				case <-aged:
					last = true
				default:
				}
				for i, id := range known {
					if !set.Has([]revoked.Kind{revoked.Session, revoked.User}[i%2], id) {
						t.Errorf("%s is not there", id)
						return
					}
				}
			}
		})
		group.Wait()
	}
}

// A table grows under those who look up, and loses nothing.
func TestNothingIsLostWhileItGrows(t *testing.T) {
	var set revoked.Set
	known := ids(20_000)
	var added atomic.Int64
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; i < len(known); i += 100 {
			batch := make([]revoked.Entry, 100)
			for k := range batch {
				batch[k] = revoked.Entry{Kind: revoked.Session, ID: known[i+k]}
			}
			set.Add(batch...)
			added.Store(int64(i + 100))
		}
	})
	for range 2 {
		group.Go(func() {
			for i := 0; i < len(known); i++ {
				if n := int(added.Load()); i < n && !set.Has(revoked.Session, known[i]) {
					t.Errorf("%s was added and is not there", known[i])
					return
				}
			}
		})
	}
	group.Wait()
	if set.Len() != len(known) {
		t.Errorf("%d entries, want %d", set.Len(), len(known))
	}
}

func TestKeepKeys(t *testing.T) {
	var set revoked.Set
	set.Add(revoked.Entry{Kind: revoked.Session, ID: "0"})
	for i := range 5000 { // several chunks of text
		set.Add(revoked.Entry{Kind: revoked.Key, ID: strconv.Itoa(i)})
	}
	set.KeepKeys(5000, func(string) bool { return false })
	if n := set.Keys(); n != 5000 {
		t.Fatalf("%d keys of 5000 that were to be kept", n)
	}
	set.KeepKeys(100, func(id string) bool { return id == "7" })
	for i := range 5000 {
		if got, want := set.Has(revoked.Key, strconv.Itoa(i)), i == 7 || i > 4900; got != want {
			t.Errorf("key %d: %v, want %v", i, got, want)
		}
	}
	if !set.Has(revoked.Session, "0") || set.Keys() != 100 || set.Len() != 101 {
		t.Errorf("%d keys and %d entries, want 100 and 101", set.Keys(), set.Len())
	}
}

// Something of a kind that we do not know is nothing that could be looked up.
func TestUnknownKindsAreLeftOut(t *testing.T) {
	var set revoked.Set
	set.Add(revoked.Entry{Kind: "device", ID: "x"})
	if set.Len() != 0 || set.Has("device", "x") || set.Has(revoked.Session, "x") {
		t.Error("an unknown kind is there")
	}
}

func TestHasDoesNotAllocate(t *testing.T) {
	var set revoked.Set
	set.Add(revoked.Entry{Kind: revoked.Session, ID: "6OGpPYrJzyPdGGLuaHnP4g"})
	if n := testing.AllocsPerRun(100, func() { set.Has(revoked.Session, "6OGpPYrJzyPdGGLuaHnP4g") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func ids(n int) []string {
	source := rand.New(rand.NewPCG(1, 2))
	list := make([]string, n)
	for i := range list {
		list[i] = revoked.UserID("", "", strconv.FormatUint(source.Uint64(), 36))
	}
	return list
}

func filled(known []string) *revoked.Set {
	set := new(revoked.Set)
	for _, id := range known {
		set.Add(revoked.Entry{Kind: revoked.Session, ID: id})
	}
	return set
}

func BenchmarkHas(b *testing.B) {
	for _, size := range []int{0, 1000, 1_000_000} {
		known, absent := ids(size), ids(1024)
		set := filled(known)
		for name, asked := range map[string][]string{"absent": absent, "present": known} {
			if len(asked) == 0 {
				continue
			}
			asked = asked[:min(len(asked), 1024)]
			b.Run(fmt.Sprintf("entries=%d/%s", size, name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					set.Has(revoked.Session, asked[i%len(asked)])
				}
			})
			b.Run(fmt.Sprintf("entries=%d/%s/parallel", size, name), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						set.Has(revoked.Session, asked[i%len(asked)])
					}
				})
			})
		}
	}
}

// BenchmarkAdd also measures what an entry takes, copies of the IDs included.
func BenchmarkAdd(b *testing.B) {
	for _, size := range []int{1, 1000, 100_000, 1_000_000} {
		known := ids(size)
		b.Run(fmt.Sprintf("entries=%d", size), func(b *testing.B) {
			var set *revoked.Set
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for b.Loop() {
				set = filled(known)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/entry")
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(size), "B/entry")
			runtime.KeepAlive(set)
			runtime.KeepAlive(known)
		})
	}
}
