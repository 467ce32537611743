package redis

import (
	"crypto/rand"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

var odd = []string{
	"", "a", "a\nb\n", "\t", "a b", "ünï☎", "nul\x00nul", "\xff\xfe", "\x01\x02", strings.Repeat("x", 300), strings.Repeat("☎", 30_000),
}

// fields are those of a session's hash, as the scripts write them.
func fields(s *innkeeper.Session) map[string]string {
	b := birthOf(s)
	found := map[string]string{
		fieldBirth:    string(appendBirth(nil, &b)),
		fieldEpoch:    string(s.Epoch[:]),
		fieldSecret:   string(s.SecretHash[:]),
		fieldRecent:   string(appendRecent(nil, s.RotatedAt, s.RecentKeys[:]...)),
		fieldRotation: string(appendRotation(nil, s.RefreshExpiresAt, s.Generation, s.Salt, s.Client)),
	}
	if s.Ended() {
		delete(found, fieldSecret)
		found[fieldEnding] = string(appendEnding(nil, &innkeeper.Ending{At: s.EndedAt, Reason: s.Reason}))
	}
	return found
}

func TestRecordsComeBack(t *testing.T) {
	at := time.Date(2026, 3, 14, 15, 9, 26, 535_897_000, time.UTC)
	for i, text := range odd {
		s := innkeeper.Session{
			Delivery: innkeeper.Delivery(text), Device: text, Methods: []string{"pwd", "x" + text},
			Client:    innkeeper.Client{UserAgent: text},
			CreatedAt: at, ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), Generation: 1<<32 - 1 - uint32(i),
			RotatedAt: time.Unix(0, 0).UTC(), RefreshExpiresAt: time.UnixMicro(-1).UTC(),
		}
		s.Client.Addr = []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("fe80::1%eth0")}[i%4]
		for _, random := range [][]byte{s.ID[:], s.UserID[:], s.Epoch[:], s.SecretHash[:], s.Salt[:], s.RecentKeys[i%8][:]} {
			rand.Read(random)
		}
		if i%3 == 0 {
			s.EndedAt, s.Reason, s.SecretHash, s.Methods = at, innkeeper.ReasonAdmin, innkeeper.SecretHash{}, nil
		}
		got, err := parseRecord(s.ID, fields(&s))
		if err != nil {
			t.Fatalf("%.20q: %v", text, err)
		}
		if !reflect.DeepEqual(got.session, s) {
			t.Errorf("%.20q: got  %+v\nwant %+v", text, got.session, s)
		}
	}
}

// Nothing that could stand in Redis makes a reader crash, and what was cut short is
// not taken for something else.
func FuzzRecord(f *testing.F) {
	s := innkeeper.Session{Device: "telephone", Methods: []string{"pwd"}, Generation: 3, Client: innkeeper.Client{Addr: netip.MustParseAddr("::1")}}
	whole := fields(&s)
	f.Add(whole[fieldBirth], whole[fieldEpoch], whole[fieldSecret], whole[fieldRecent], whole[fieldRotation], "12345678logout", true)
	f.Fuzz(func(t *testing.T, birth, epoch, secret, recent, rotation, ending string, ended bool) {
		found := map[string]string{
			fieldBirth: birth, fieldEpoch: epoch, fieldSecret: secret, fieldRecent: recent, fieldRotation: rotation,
		}
		if ended {
			found[fieldEnding] = ending
		}
		got, err := parseRecord(innkeeper.SessionID{}, found)
		if err != nil {
			return
		}
		again, err := parseRecord(innkeeper.SessionID{}, fields(&got.session))
		if err != nil || !reflect.DeepEqual(again.session, got.session) {
			t.Fatalf("%+v becomes %+v, %v", got.session, again.session, err)
		}
	})
}

func TestEverySpelledPrefixIsMalformed(t *testing.T) {
	s := innkeeper.Session{Device: "telephone", Methods: []string{"pwd"}, Delivery: "cookie"}
	b := birthOf(&s)
	whole := string(appendBirth(nil, &b))
	methods := len(whole) - len("\x06pwd")
	for n := range whole {
		if _, err := parseBirth(whole[:n]); err == nil && n != methods {
			t.Errorf("the first %d bytes of a birth are taken for one", n)
		}
	}
	if _, err := parseBirth("\x02" + whole[1:]); err == nil {
		t.Error("a birth of another version is taken for one of ours")
	}
}

func TestResolve(t *testing.T) {
	e := func(b byte) innkeeper.Epoch { return innkeeper.Epoch{b, b, b, b, b, b, b, b} }
	text := func(epochs ...innkeeper.Epoch) (all string) {
		for _, epoch := range epochs {
			all += string(epoch[:])
		}
		return all
	}
	for _, test := range []struct {
		carried string
		user    innkeeper.Epoch
		want    innkeeper.Epoch
	}{
		{"", e(1), e(1)},
		{"", e(2), e(1)},
		{text(e(2), e(3)), e(3), e(3)},
		{text(e(2), e(3)), e(2), e(2)},
		{text(e(2), e(3)), e(1), e(1)},
		{text(e(2), e(3)), e(4), e(1)},
		{"\x00" + text(e(2)) + "\x00", e(2), e(1)}, // only where an epoch begins
	} {
		rec := record{carried: test.carried, session: innkeeper.Session{Epoch: e(1)}}
		same := rec.resolve(test.user)
		if rec.session.Epoch != test.want || same != (test.want == test.user) {
			t.Errorf("%x under %s: resolved to %s, %v", test.carried, test.user, rec.session.Epoch, same)
		}
	}
}

func TestBirthsForget(t *testing.T) {
	c := newBirths(10)
	for i := range 100 {
		id := innkeeper.SessionID{byte(i)}
		c.put(id, birth{device: "x"})
		if _, ok := c.get(id); !ok || len(c.known) > 10 {
			t.Fatalf("after %d: remembered %v, %d in all", i, ok, len(c.known))
		}
		c.put(id, birth{device: "y"})
	}
	if len(c.known) != 10 {
		t.Fatalf("%d are remembered", len(c.known))
	}
}

func TestLifetime(t *testing.T) {
	at := time.Date(2026, 3, 14, 15, 9, 26, 500_000_000, time.UTC)
	for until, want := range map[time.Duration]int64{
		-time.Hour: 60, 0: 60, 1: 61, time.Second: 61, time.Second + 1: 62, 14 * 24 * time.Hour: 14*24*3600 + 60,
	} {
		if got := lifetime(at, at.Add(until)); got != want {
			t.Errorf("%s: got %d s, want %d", until, got, want)
		}
	}
}
