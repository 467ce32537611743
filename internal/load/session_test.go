package load_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/load"
)

// TestScenarios runs each against a real server. Nothing fails, and nobody stays
// signed in.
func TestScenarios(t *testing.T) {
	for scenario, steps := range map[load.Scenario][]string{
		load.Login:   {load.StepLogin, load.StepLogout},
		load.Refresh: {load.StepRefresh},
		load.Verify:  {load.StepMe},
		load.Mixed:   {load.StepMe, load.StepRefresh},
	} {
		t.Run(string(scenario), func(t *testing.T) {
			inn := innkeepertest.New(t, &innkeepertest.Options{RefreshLimit: -1}) // they refresh without a pause
			ada := inn.AddUser("ada")
			sessions := signedIn(t, inn, 3)
			if n := len(liveSessions(t, inn, ada)); n != 3 {
				t.Fatalf("%d sessions before the run", n)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := load.Run(ctx, scenario.Clients(sessions), load.Options{
				Duration: time.Minute, ProgressEvery: 20 * time.Millisecond,
				Progress: func(sofar load.Result) {
					seen := stepNames(sofar)
					missing := func(step string) bool { return !slices.Contains(seen, step) }
					if sofar.Elapsed > 500*time.Millisecond && !slices.ContainsFunc(steps, missing) {
						cancel()
					}
				},
			})
			if result.Err != nil {
				t.Errorf("failed: %v", result.Err)
			}
			seen := stepNames(result)
			for _, step := range steps {
				if !slices.Contains(seen, step) {
					t.Errorf("the steps are %v, without %s", seen, step)
				}
			}
			if scenario != load.Mixed && len(seen) != len(steps) {
				t.Errorf("the steps are %v, want %v", seen, steps)
			}
			if err := load.LogOut(t.Context(), sessions); err != nil {
				t.Error(err)
			}
			if n := len(liveSessions(t, inn, ada)); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}

func stepNames(result load.Result) (names []string) {
	for i := range result.Steps {
		names = append(names, result.Steps[i].Name)
	}
	return names
}

// TestMixedWeights counts what one client does in a whole cycle.
func TestMixedWeights(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	client := load.Mixed.Clients(signedIn(t, inn, 1))[0]
	counts := make(map[string]int)
	for range 1001 {
		step, err := client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		counts[step]++
	}
	if want := map[string]int{"me": 950, "refresh": 49, "logout": 1, "login": 1}; !reflect.DeepEqual(counts, want) {
		t.Errorf("got %v, want %v", counts, want)
	}
}

// TestLostAnswer tries a refresh again with the same token and key: the session
// lives on, which it would not if either were another.
func TestLostAnswer(t *testing.T) {
	var (
		lose atomic.Bool
		mu   sync.Mutex
		keys []string
	)
	inn := innkeepertest.New(t, &innkeepertest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			mu.Unlock()
			if lose.Load() {
				next.ServeHTTP(httptest.NewRecorder(), r)
				w.Header().Set("Retry-After", "7")
				http.Error(w, "a proxy has given up", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	inn.AddUser("ada")
	client := load.Refresh.Clients(signedIn(t, inn, 1))[0]
	do(t, client, load.StepRefresh)
	lose.Store(true)
	step, err := client(t.Context())
	var failure *load.Failure
	if !errors.As(err, &failure) || step != load.StepRefresh || failure.Kind != "503" || failure.Status != 503 || failure.Wait != time.Second {
		t.Fatalf("%s: %#v", step, failure)
	}
	lose.Store(false)
	do(t, client, load.StepRefresh)
	do(t, client, load.StepRefresh)
	mu.Lock()
	defer mu.Unlock()
	n := len(keys)
	first, lost, again, next := keys[n-4], keys[n-3], keys[n-2], keys[n-1]
	if lost != again || first == lost || again == next {
		t.Errorf("the keys are %q, %q, %q and %q", first, lost, again, next)
	}
	for i, generation := range []string{"1", "2", "2", "3"} {
		if key := keys[n-4+i]; !strings.HasSuffix(key, ";generation="+generation) {
			t.Errorf("%s names another generation than %s", key, generation)
		}
	}
}

// TestTornConnection counts as no answer, and is tried again.
func TestTornConnection(t *testing.T) {
	var tear atomic.Bool
	inn := innkeepertest.New(t, &innkeepertest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tear.Load() {
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	}})
	inn.AddUser("ada")
	client := load.Refresh.Clients(signedIn(t, inn, 1))[0]
	tear.Store(true)
	var failure *load.Failure
	if _, err := client(t.Context()); !errors.As(err, &failure) || failure.Kind != "no answer" || failure.Status != 0 {
		t.Errorf("got %#v", failure)
	}
	tear.Store(false)
	do(t, client, load.StepRefresh)
}

// TestLostSession begins another when the server has ended the first.
func TestLostSession(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	ada := inn.AddUser("ada")
	client := load.Verify.Clients(signedIn(t, inn, 1))[0]
	do(t, client, load.StepMe)
	if err := inn.Authority.EndUserSessions(t.Context(), ada.ID, innkeeper.ReasonAdmin, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"me: 401 access_token_revoked", "refresh: 401 session_ended", "logout", "login", "me"} {
		step, err := client(t.Context())
		var failure *load.Failure
		if errors.As(err, &failure) {
			step += ": " + failure.Kind
		}
		if step != want {
			t.Fatalf("got %s, want %s", step, want)
		}
	}
}

// TestAccessTokenIsRenewed refreshes before the access token expires.
func TestAccessTokenIsRenewed(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{Policy: innkeeper.Policy{AccessTTL: 5 * time.Second}})
	inn.AddUser("ada")
	client := load.Verify.Clients(signedIn(t, inn, 1))[0]
	do(t, client, load.StepMe)
	time.Sleep(2600 * time.Millisecond)
	do(t, client, load.StepRefresh)
	do(t, client, load.StepMe)
}

// TestSignInWaits asks a busy server again, and gives up at a refusal.
func TestSignInWaits(t *testing.T) {
	var busy atomic.Int32
	busy.Store(2)
	inn := innkeepertest.New(t, &innkeepertest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if busy.Add(-1) >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	ada := inn.AddUser("ada")
	var progress []int
	sessions := load.NewSessions(target(t, inn.URL), 7)
	if err := load.SignIn(t.Context(), sessions, func(done int) { progress = append(progress, done) }); err != nil {
		t.Fatal(err)
	}
	if want := []int{1, 2, 3, 4, 5, 6, 7}; !slices.Equal(progress, want) {
		t.Errorf("progress: %v", progress)
	}
	busy.Store(1)
	if err := load.LogOut(t.Context(), sessions); err != nil {
		t.Error(err)
	}
	if n := len(liveSessions(t, inn, ada)); n != 0 {
		t.Errorf("%d sessions are left", n)
	}

	wrong := target(t, inn.URL)
	wrong.Password = "a wrong guess of mine"
	sessions = load.NewSessions(wrong, 7)
	err := load.SignIn(t.Context(), sessions, nil)
	if err == nil || !strings.Contains(err.Error(), "POST /auth/login: 401 invalid_credentials: ") {
		t.Errorf("got %v", err)
	}
	if err := load.LogOut(t.Context(), sessions); err != nil {
		t.Errorf("nobody is signed in: %v", err)
	}
}

// TestSignInEnds when the context does, and what has begun can be ended.
func TestSignInEnds(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	ada := inn.AddUser("ada")
	ctx, cancel := context.WithCancel(t.Context())
	sessions := load.NewSessions(target(t, inn.URL), 50)
	err := load.SignIn(ctx, sessions, func(done int) {
		if done == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := len(liveSessions(t, inn, ada)); n < 3 || n > 20 {
		t.Errorf("%d are signed in", n)
	}
	if err := load.LogOut(t.Context(), sessions); err != nil {
		t.Error(err)
	}
	if n := len(liveSessions(t, inn, ada)); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestStrangers are servers that are none of ours: what they say is shown only as
// far as it can be printed.
func TestStrangers(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		kind    string
		text    string
	}{
		"no tokens": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "welcome") },
			"unexpected answer", "POST /auth/login: the answer holds no tokens: this is not Innkeeper's API"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusTemporaryRedirect)
		},
			"307", "POST /auth/login: 307"},
		"escapes": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, `{"code":"\u001b[31m","detail":"a\u0007b"}`)
		}, "500 \ufffd[31m", "POST /auth/login: 500 \ufffd[31m: a\ufffdb"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			err := load.NewSessions(target(t, server.URL), 1)[0].SignIn(t.Context())
			var failure *load.Failure
			if !errors.As(err, &failure) || failure.Kind != c.kind || failure.Error() != c.text {
				t.Errorf("got %#v: %v", failure, err)
			}
		})
	}
}

// TestConnections makes as many as needed: one, as long as it is kept alive. It
// finds the end of every answer, and the beginning of the next.
func TestConnections(t *testing.T) {
	const tokens = `{"access_token":"a","expires_in":900,"refresh_token":"b"}`
	var (
		dialed atomic.Int32
		n      int
	)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/below/auth/login" || r.UserAgent() != "innkeeper-bench" {
			t.Errorf("%s %s by %s", r.Method, r.URL, r.UserAgent())
		}
		n++
		switch n {
		case 1: // early hints, and in chunks
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, tokens[:9])
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, tokens[9:])
		case 2: // longer than anybody wants to read, which costs the connection
			_, _ = io.WriteString(w, tokens+strings.Repeat(" ", 3<<20))
		case 3: // the last of its connection
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, tokens)
		default:
			_, _ = io.WriteString(w, tokens)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dialed.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	session := load.NewSessions(target(t, server.URL+"/below/"), 1)[0]
	for i, want := range []int32{1, 1, 2, 3, 3} {
		if err := session.SignIn(t.Context()); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if got := dialed.Load(); got != want {
			t.Errorf("%d: %d connections, want %d", i, got, want)
		}
	}
}

// TestCertificates are checked.
func TestCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // tells of the refusal
	server.StartTLS()
	defer server.Close()
	err := load.NewSessions(target(t, server.URL), 1)[0].SignIn(t.Context())
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
}

// TestLogOutEnds with its context, whatever the server does.
func TestLogOutEnds(t *testing.T) {
	var hang atomic.Bool
	stop := make(chan struct{})
	inn := innkeepertest.New(t, &innkeepertest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if hang.Load() {
				<-stop
			}
			next.ServeHTTP(w, r)
		})
	}})
	defer close(stop)
	inn.AddUser("ada")
	sessions := signedIn(t, inn, 3)
	hang.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	// A request may take 30 seconds, so that this tells the context from the time-out.
	late := time.AfterFunc(10*time.Second, func() { t.Error("the context has ended, and the logout has not") })
	defer late.Stop()
	if err := load.LogOut(ctx, sessions); err == nil || !strings.HasPrefix(err.Error(), "3 sessions are left signed in: ") {
		t.Errorf("got %v", err)
	}
}

// TestTimeout bounds a request to a server that says nothing.
func TestTimeout(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer server.Close()
	defer close(stop)
	to := target(t, server.URL)
	to.Timeout = 50 * time.Millisecond
	var failure *load.Failure
	if err := load.NewSessions(to, 1)[0].SignIn(t.Context()); !errors.As(err, &failure) || failure.Kind != "timeout" {
		t.Errorf("got %#v", failure)
	}
}

// TestNothingSecretIsPrinted prints a session and a target in every way.
func TestNothingSecretIsPrinted(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	var log bytes.Buffer
	for _, value := range []any{signedIn(t, inn, 1)[0], target(t, inn.URL)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&log, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&log, nil)).Info("text", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "value", value)
	}
	found := innkeepertest.FindSecrets(log.String())
	for _, password := range []string{innkeepertest.Password, fmt.Sprintf("%x", innkeepertest.Password)} {
		if strings.Contains(log.String(), password) {
			found = append(found, password)
		}
	}
	if found != nil {
		t.Errorf("%q is in %s", found, &log)
	}
}

// BenchmarkRefresh shows what the client itself allocates, beside a server that
// does nothing.
func BenchmarkRefresh(b *testing.B) {
	answer := `{"access_token":"` + strings.Repeat("a", 700) + `","expires_in":900,"refresh_token":"ikr_` + strings.Repeat("b", 102) + `"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
	defer server.Close()
	session := load.NewSessions(target(b, server.URL), 1)[0]
	b.ReportAllocs()
	for b.Loop() {
		if err := session.Refresh(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func target(t testing.TB, at string) load.Target {
	base, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	return load.Target{URL: base, Username: "ada", Password: innkeepertest.Password}
}

func signedIn(t *testing.T, inn *innkeepertest.Inn, n int) []*load.Session {
	t.Helper()
	sessions := load.NewSessions(target(t, inn.URL), n)
	if err := load.SignIn(t.Context(), sessions, nil); err != nil {
		t.Fatal(err)
	}
	return sessions
}

// do sends the next request of a client, which must be of a kind and succeed.
func do(t *testing.T, client load.Client, want string) {
	t.Helper()
	step, err := client(t.Context())
	if err != nil || step != want {
		t.Fatalf("%s: %v; want %s", step, err, want)
	}
}

func liveSessions(t *testing.T, inn *innkeepertest.Inn, user *innkeeper.User) []innkeeper.Session {
	t.Helper()
	var all []innkeeper.Session
	for after := (innkeeper.SessionID{}); ; {
		page, err := inn.Authority.Sessions(t.Context(), user.ID, after)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].ID
	}
}
