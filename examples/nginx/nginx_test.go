// Package nginx_test runs nginx.conf, with a real nginx in front of an API that tells
// what it was sent.
package nginx_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/examples/internal/trial"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
)

// gateway is nginx, what stands behind it and what lies between.
type gateway struct {
	url     string
	addr    string
	inn     *innkeepertest.Inn
	line    *testengine.Proxy // between nginx and Innkeeper
	checks  atomic.Int32      // that Innkeeper was asked
	strange atomic.Value      // headers of a check that have no business there
}

// start starts them all. What change returns of nginx.conf is what nginx gets.
func start(t testing.TB, change ...func(conf string) string) *gateway {
	t.Helper()
	return startWith(t, innkeepertest.Options{}, change...)
}

func startWith(t testing.TB, options innkeepertest.Options, change ...func(conf string) string) *gateway {
	t.Helper()
	g := &gateway{}
	g.strange.Store("")
	options.Wrap = g.count
	g.inn = innkeepertest.New(t, &options)
	line, err := testengine.NewProxy(strings.TrimPrefix(g.inn.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	g.line = line
	api := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(api.Close)

	text, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	conf := string(text)
	for old, by := range map[string]string{
		"server 127.0.0.1:8080;": "server " + line.Addr() + ";",
		"server 127.0.0.1:3000;": "server " + api.Listener.Addr().String() + ";",
		"listen 8081;":           "listen {{addr}};",
	} {
		if strings.Count(conf, old) != 1 {
			t.Fatalf("%q is not in nginx.conf once", old)
		}
		conf = strings.Replace(conf, old, by, 1)
	}
	for _, f := range change {
		conf = f(conf)
	}
	nginx, err := testengine.StartNginx(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nginx.Close(); err != nil {
			t.Error(err)
		}
	})
	g.addr = nginx.Addr()
	g.url = "http://" + g.addr
	g.inn.AddUser("ada", "mail:read", "mail:send")
	g.inn.AddUser("bob")
	trial.AddAdmin(t, g.inn, "eve")
	return g
}

// count counts questions, and looks for what nginx should have kept to itself.
func (g *gateway) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth/check" {
			g.checks.Add(1)
			for name := range r.Header {
				if name != "Authorization" {
					g.strange.Store(name)
				}
			}
			if body, err := io.ReadAll(r.Body); err != nil || len(body) > 0 || r.Method != http.MethodGet {
				g.strange.Store(fmt.Sprintf("%s with a body %q, %v", r.Method, body, err))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// seen is what the API was sent.
type seen struct {
	Method, Path, Decoded, Body string
	Header                      http.Header
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	got := seen{Method: r.Method, Path: r.URL.RequestURI(), Decoded: r.URL.Path, Body: string(body), Header: r.Header}
	for name, values := range r.Trailer {
		got.Header["Trailer-"+name] = values
	}
	status := http.StatusOK
	if r.URL.Path == "/broken" { // an error of the API's own
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(got)
}

// identity returns the headers by which the API may know who is calling, in the eyes
// of a server for which all that is neither letter nor digit is the same.
func (s seen) identity() map[string]string {
	found := make(map[string]string)
	for name, values := range s.Header {
		plain := strings.Map(func(c rune) rune {
			if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", c) {
				return c
			}
			return '-'
		}, strings.ToLower(name))
		if strings.HasPrefix(plain, "x-auth") || plain == "authorization" {
			found[name] = strings.Join(values, "|")
		}
	}
	return found
}

func parse(t *testing.T, a trial.Answer) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(a.Body), &s); err != nil {
		t.Fatalf("%v in %d %q", err, a.Status, a.Body)
	}
	return s
}

func TestAllowed(t *testing.T) {
	g := start(t)
	session := g.inn.SignIn("ada")
	for _, tc := range []struct{ method, path, body string }{
		{"GET", "/mail?box=in", ""},
		{"POST", "/mail", `{"to":"bob"}`},
		{"PUT", "/mail/1", strings.Repeat("x", 100_000)},
		{"DELETE", "/mail/1", ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.method, g.url+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+session.AccessToken)
		r.Header.Set("Cookie", "a=b")
		r.Header.Set("X-Request-Id", "7")
		before := g.checks.Load()
		a := trial.Send(t, r)
		a.Want(t, http.StatusOK, "")
		got := parse(t, a)
		if got.Method != tc.method || got.Path != tc.path || got.Body != tc.body {
			t.Errorf("%s %s arrived as %s %s with %d bytes of %d", tc.method, tc.path, got.Method, got.Path, len(got.Body), len(tc.body))
		}
		if got.Header.Get("Cookie") != "a=b" || got.Header.Get("X-Request-Id") != "7" {
			t.Errorf("headers are missing in %v", got.Header)
		}
		want := map[string]string{
			"X-Auth-Session": session.ID, "X-Auth-Username": "ada", "X-Auth-Email": "ada@example.com",
			"X-Auth-Roles": "ada", "X-Auth-Permissions": "mail:read mail:send",
		}
		for name, value := range want {
			if got.Header.Get(name) != value {
				t.Errorf("%s is %q, want %q", name, got.Header.Get(name), value)
			}
		}
		if n := len(got.identity()); n != len(want)+2 || got.Header.Get("X-Auth-Subject") == "" || got.Header.Get("X-Auth-Time") == "" {
			t.Errorf("the API was told %v", got.identity())
		}
		if n := g.checks.Load() - before; n != 1 {
			t.Errorf("Innkeeper was asked %d times", n)
		}
	}
	head := trial.Call(t, "HEAD", g.url+"/mail", session.AccessToken)
	if head.Status != http.StatusOK || head.Body != "" {
		t.Errorf("HEAD: %d %q", head.Status, head.Body)
	}
	if strange := g.strange.Load(); strange != "" {
		t.Errorf("Innkeeper was sent %s", strange)
	}
	trial.Call(t, "GET", g.url+"/admin/users", g.inn.SignIn("eve").AccessToken).Want(t, http.StatusOK, "")
}

// TestLargestUser lets those through who hold as much as one role can give, and who have
// as many roles as a token can carry.
func TestLargestUser(t *testing.T) {
	g := start(t)
	for _, roles := range []int{1, 2} {
		user := innkeeper.NewUser{Username: fmt.Sprintf("largest-%d", roles), Password: innkeepertest.Password}
		var permissions []string
		for n := range roles {
			role := innkeeper.Role{Name: fmt.Sprintf("%s-%d", user.Username, n)}
			for k := range 64 {
				role.Permissions = append(role.Permissions, fmt.Sprintf("%d:%02d:%s", n, k, strings.Repeat("x", 59)))
			}
			if err := g.inn.Authority.SetRole(t.Context(), role, innkeeper.ActorOperator); err != nil {
				t.Fatal(err)
			}
			user.Roles = append(user.Roles, role.Name)
			permissions = append(permissions, role.Permissions...)
		}
		if _, err := g.inn.Authority.CreateUser(t.Context(), user, innkeeper.ActorOperator); err != nil {
			t.Fatal(err)
		}
		token := g.inn.SignIn(user.Username).AccessToken
		a := trial.Call(t, "GET", g.url+"/mail", token)
		if a.Status != http.StatusOK {
			t.Errorf("%d permissions, a token of %d bytes: got %d %.200s", len(permissions), len(token), a.Status, a.Body)
			continue
		}
		if got := parse(t, a).Header.Get("X-Auth-Permissions"); got != strings.Join(permissions, " ") {
			t.Errorf("the API was told %q", got)
		}
		t.Logf("%d permissions, a token of %d bytes", len(permissions), len(token))
	}
}

func TestRefused(t *testing.T) {
	g := start(t)
	session := g.inn.SignIn("ada")
	const invalid = `Bearer realm="innkeeper", error="invalid_token"`
	for _, tc := range []struct{ name, token, challenge string }{
		{"none", "", `Bearer realm="innkeeper"`},
		{"garbage", "x", invalid},
		{"refresh token", session.RefreshToken, invalid},
		{"altered", session.AccessToken[:len(session.AccessToken)-6] + "AAAAAA", invalid},
	} {
		for _, path := range []string{"/mail", "/admin/users"} {
			a := trial.Call(t, "GET", g.url+path, tc.token)
			a.Want(t, http.StatusUnauthorized, "access_token_invalid")
			challenges := a.Header.Values("WWW-Authenticate")
			if len(challenges) != 1 || !strings.HasPrefix(challenges[0], tc.challenge) || tc.token == "" && challenges[0] != tc.challenge {
				t.Errorf("%s: challenges %q", tc.name, challenges)
			}
			if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: %v", tc.name, a.Header)
			}
		}
	}
	// The refresh cookie opens nothing, and another scheme neither.
	r, err := http.NewRequestWithContext(t.Context(), "GET", g.url+"/mail", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", "__Secure-innkeeper-refresh="+session.RefreshToken)
	r.SetBasicAuth("ada", innkeepertest.Password)
	trial.Send(t, r).Want(t, http.StatusUnauthorized, "access_token_invalid")

	post, err := http.NewRequestWithContext(t.Context(), "POST", g.url+"/mail", strings.NewReader(strings.Repeat("x", 500_000)))
	if err != nil {
		t.Fatal(err)
	}
	trial.Send(t, post).Want(t, http.StatusUnauthorized, "access_token_invalid")

	for _, name := range []string{"ada", "bob"} {
		a := trial.Call(t, "GET", g.url+"/admin/users", g.inn.SignIn(name).AccessToken)
		a.Want(t, http.StatusForbidden, "forbidden")
		if !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
			t.Errorf("challenge %q", a.Header.Get("WWW-Authenticate"))
		}
	}

	g.inn.Clock.Advance(16 * time.Minute)
	expired := trial.Call(t, "GET", g.url+"/mail", session.AccessToken)
	expired.Want(t, http.StatusUnauthorized, "access_token_invalid")
	if !strings.Contains(expired.Header.Get("WWW-Authenticate"), "expired") {
		t.Errorf("challenge %q", expired.Header.Get("WWW-Authenticate"))
	}
}

// TestOpenDoors asks for what needs no token, and for the questions themselves.
func TestOpenDoors(t *testing.T) {
	g := start(t)
	token := g.inn.SignIn("eve").AccessToken
	r, err := http.NewRequestWithContext(t.Context(), "GET", g.url+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Subject", "root")
	open := trial.Send(t, r)
	open.Want(t, http.StatusOK, "")
	if got := parse(t, open).identity(); len(got) > 0 {
		t.Errorf("nobody was asked, and the API was told %v", got)
	}
	before := g.checks.Load()
	for _, path := range []string{"/innkeeper/user", "/innkeeper/admin", "/innkeeper/fresh", "/innkeeper/", "/innkeeper/x", "//innkeeper/user", "/x/../innkeeper/admin"} {
		if a := trial.Call(t, "GET", g.url+path, token); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	if g.checks.Load() != before {
		t.Error("Innkeeper was asked from outside")
	}
	// An error of the API is the API's.
	broken := trial.Call(t, "GET", g.url+"/broken", token)
	if broken.Status != http.StatusInternalServerError || parse(t, broken).Path != "/broken" {
		t.Errorf("got %d %s", broken.Status, broken.Body)
	}
	// Ways into /admin/ past its question.
	bob := g.inn.SignIn("bob").AccessToken
	for _, target := range []string{"//admin/users", "/x/../admin/users", "/./admin/users", "/%61dmin/users", "/admin%2fusers", "/x/..%2fadmin/users", "/admin"} {
		a := trial.Call(t, "GET", g.url+target, bob)
		if a.Status == http.StatusOK && strings.HasPrefix(path.Clean(parse(t, a).Decoded), "/admin/") {
			t.Errorf("%s arrives as %s", target, parse(t, a).Path)
		}
	}
}

// TestRevoked logs out and waits until nginx knows.
func TestRevoked(t *testing.T) {
	g := start(t)
	session, other := g.inn.SignIn("ada"), g.inn.SignIn("ada")
	mail := func() trial.Answer { return trial.Call(t, "GET", g.url+"/mail", session.AccessToken) }
	mail().Want(t, http.StatusOK, "")
	trial.Logout(t, g.inn, session)
	refused := trial.Await(t, http.StatusUnauthorized, mail)
	if !strings.Contains(refused.Header.Get("WWW-Authenticate"), "revoked") {
		t.Errorf("challenge %q", refused.Header.Get("WWW-Authenticate"))
	}
	trial.Call(t, "GET", g.url+"/mail", other.AccessToken).Want(t, http.StatusOK, "")
}

// TestRevokedElsewhere logs out at a server that nginx never asks, and takes the time from
// its answer to the first refusal. Polling the store that both share is all by which one
// learns of the other: the slowest way that there is. A machine may stall for a while,
// but not every other time.
func TestRevokedElsewhere(t *testing.T) {
	const logouts, promised = 20, time.Second
	stores := memory.New().Stores()
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	g := startWith(t, innkeepertest.Options{Stores: &stores, RootKeys: roots})
	elsewhere := secondServer(t, g.inn, innkeeper.Config{Stores: stores, RootKeys: roots})
	var took []time.Duration
	for range logouts {
		session := g.inn.SignIn("ada")
		mail := func() trial.Answer { return trial.Call(t, "GET", g.url+"/mail", session.AccessToken) }
		mail().Want(t, http.StatusOK, "")
		trial.Call(t, "POST", elsewhere+"/auth/logout", session.AccessToken).Want(t, http.StatusNoContent, "")
		began := time.Now()
		trial.Await(t, http.StatusUnauthorized, mail)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("from the answer to a logout at another server to the refusal by nginx, of %d: p50 %v, max %v", logouts, took[logouts/2], took[logouts-1])
	if took[logouts/2] > promised {
		t.Errorf("half of them took longer than %v, want %v at most", took[logouts/2], promised)
	}
}

// secondServer starts another server of the same installation, and returns its URL.
func secondServer(t *testing.T, first *innkeepertest.Inn, config innkeeper.Config) string {
	t.Helper()
	config.Issuer, config.Clock = first.URL, first.Clock.Now
	authority, err := innkeeper.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Config{Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var over sync.WaitGroup
	over.Go(func() { authority.Run(ctx) })
	t.Cleanup(func() { cancel(); over.Wait() })
	return server.URL
}

// TestCached tries the cache that the document advises against.
func TestCached(t *testing.T) {
	text, err := os.ReadFile("../../docs/gateways.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```nginx\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks", len(blocks))
	}
	const place = "location /innkeeper/ {"
	g := start(t, func(conf string) string {
		inHTTP := strings.Replace(blocks[0][1], "/dev/shm/innkeeper", t.TempDir(), 1)
		return inHTTP + strings.Replace(conf, place, place+"\n"+blocks[1][1], 1)
	})
	ada, bob, eve := g.inn.SignIn("ada"), g.inn.SignIn("bob"), g.inn.SignIn("eve")
	mail := func() trial.Answer { return trial.Call(t, "GET", g.url+"/mail", ada.AccessToken) }
	// Whether an answer is a second old is up to nginx's clock: some of many are not.
	for range 50 {
		a := mail()
		a.Want(t, http.StatusOK, "")
		if name := parse(t, a).Header.Get("X-Auth-Username"); name != "ada" {
			t.Fatalf("the API was told %q", name)
		}
	}
	if n := g.checks.Load(); n >= 50 {
		t.Errorf("Innkeeper was asked %d times", n)
	}
	// Another token and another question have answers of their own; refusals are none.
	trial.Call(t, "GET", g.url+"/admin/users", ada.AccessToken).Want(t, http.StatusForbidden, "forbidden")
	trial.Call(t, "GET", g.url+"/admin/users", eve.AccessToken).Want(t, http.StatusOK, "")
	if name := parse(t, trial.Call(t, "GET", g.url+"/mail", bob.AccessToken)).Header.Get("X-Auth-Username"); name != "bob" {
		t.Errorf("the API was told %q", name)
	}
	trial.Call(t, "GET", g.url+"/mail", "").Want(t, http.StatusUnauthorized, "access_token_invalid")
	trial.Logout(t, g.inn, ada)
	trial.Await(t, http.StatusUnauthorized, mail)
}

// TestOutage makes Innkeeper refuse connections, and then none of its answers arrive.
// Nobody is signed out for it, and nobody let in.
func TestOutage(t *testing.T) {
	g := start(t)
	token := g.inn.SignIn("ada").AccessToken
	mail := func() trial.Answer { return trial.Call(t, "GET", g.url+"/mail", token) }
	mail().Want(t, http.StatusOK, "")
	unavailable := func() {
		t.Helper()
		for _, token := range []string{token, "x", ""} {
			a := trial.Call(t, "GET", g.url+"/mail", token)
			a.Want(t, http.StatusServiceUnavailable, "unavailable")
			if a.Header.Get("Retry-After") == "" || a.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("got %v", a.Header)
			}
		}
	}
	if err := g.line.Refuse(); err != nil {
		t.Fatal(err)
	}
	g.line.Cut()
	unavailable()
	trial.Call(t, "GET", g.url+"/healthz", "").Want(t, http.StatusOK, "")
	if err := g.line.Pass(); err != nil {
		t.Fatal(err)
	}
	trial.Await(t, http.StatusOK, mail)
	g.line.Hang()
	unavailable()
	if err := g.line.Pass(); err != nil {
		t.Fatal(err)
	}
	trial.Await(t, http.StatusOK, mail)
}

// cutOff is a store that does not answer any more who asks for revocations.
type cutOff struct {
	innkeeper.RevocationStore
	mu  sync.RWMutex
	cut bool
}

func (c *cutOff) LastRevocation(ctx context.Context) (int64, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.cut {
		return 0, errors.New("no route to host")
	}
	return c.RevocationStore.LastRevocation(ctx)
}

// set waits for answers that are on their way.
func (c *cutOff) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

// TestCutOff takes the store away from the server that nginx asks, and logs out at
// another one. The first cannot know of it, and says so where it is asked for.
func TestCutOff(t *testing.T) {
	stores := memory.New().Stores()
	line := &cutOff{RevocationStore: stores.Revocations}
	behind := stores
	behind.Revocations = line
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	g := startWith(t, innkeepertest.Options{Stores: &behind, RootKeys: roots})
	elsewhere := secondServer(t, g.inn, innkeeper.Config{Stores: stores, RootKeys: roots})
	ended, session := g.inn.SignIn("ada"), g.inn.SignIn("ada")
	get := func(path string, session innkeepertest.Session) trial.Answer {
		return trial.Call(t, "GET", g.url+path, session.AccessToken)
	}
	get("/transfers/1", ended).Want(t, http.StatusOK, "")

	line.set(true)
	trial.Call(t, "POST", elsewhere+"/auth/logout", ended.AccessToken).Want(t, http.StatusNoContent, "")
	g.inn.Clock.Advance(6 * time.Second)
	get("/mail", ended).Want(t, http.StatusOK, "") // this is what the other location is for
	for _, session := range []innkeepertest.Session{ended, session} {
		a := get("/transfers/1", session)
		a.Want(t, http.StatusServiceUnavailable, "unavailable")
		if a.Header.Get("Retry-After") == "" || a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("got %v", a.Header)
		}
	}
	line.set(false)
	trial.Await(t, http.StatusUnauthorized, func() trial.Answer { return get("/transfers/1", ended) })
	get("/transfers/1", session).Want(t, http.StatusOK, "")
	get("/mail", ended).Want(t, http.StatusUnauthorized, "access_token_invalid")
}

// TestSpoofing writes requests that claim to be somebody else's, byte by byte.
func TestSpoofing(t *testing.T) {
	g := start(t)
	session := g.inn.SignIn("bob")
	eve := g.inn.SignIn("eve")
	honest := parse(t, trial.Call(t, "GET", g.url+"/mail", session.AccessToken)).identity()
	for name, lines := range map[string][]string{
		"plain":          {"X-Auth-Subject: root", "X-Auth-Roles: admin", "X-Auth-Email: root@example.com"},
		"lower case":     {"x-auth-subject: root", "x-auth-roles: admin"},
		"underscores":    {"X_Auth_Subject: root", "X-Auth_Subject: root", "x_auth_roles: admin"},
		"dots":           {"X.Auth.Subject: root", "X-Auth.Roles: admin", "X~Auth~Subject: root"},
		"twice":          {"X-Auth-Subject: root", "X-Auth-Subject: root2", "x-auth-subject: root3"},
		"empty":          {"X-Auth-Subject:", "X-Auth-Roles: "},
		"hop by hop":     {"Connection: X-Auth-Subject, X-Auth-Roles, close"},
		"both":           {"Connection: keep-alive, X-Auth-Subject, Authorization", "X-Auth-Subject: root"},
		"proxy":          {"Proxy-Connection: X-Auth-Subject", "Keep-Alive: X-Auth-Subject", "TE: trailers"},
		"space in name":  {"X-Auth-Subject : root"},
		"folded":         {"X-Other: a", " X-Auth-Subject: root"},
		"folded name":    {"X-Auth-Subject:", " root"},
		"authorization2": {"Authorization: Bearer " + eve.AccessToken},
		"variables":      {"auth_subject: root", "Upstream-Http-X-Auth-Subject: root"},
	} {
		head := append([]string{"GET /mail HTTP/1.1", "Host: api.example.com", "Authorization: Bearer " + session.AccessToken}, lines...)
		status, body := g.raw(t, strings.Join(head, "\r\n")+"\r\n\r\n")
		if status == http.StatusBadRequest || status == http.StatusUnauthorized {
			t.Logf("%s: refused with %d", name, status)
			continue
		}
		if got := parse(t, trial.Answer{Status: status, Body: body}).identity(); fmt.Sprint(got) != fmt.Sprint(honest) {
			t.Errorf("%s: the API was told\n%v\nwant\n%v", name, got, honest)
		}
	}
	// In the trailer of a body, and as the head of a second request inside of one.
	request := "POST /mail HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + session.AccessToken +
		"\r\nTrailer: X-Auth-Subject\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Auth-Subject: root\r\n\r\n"
	status, body := g.raw(t, request)
	if got := parse(t, trial.Answer{Status: status, Body: body}); fmt.Sprint(got.identity()) != fmt.Sprint(honest) || got.Body != "hi" {
		t.Errorf("trailer: the API was told %v", got)
	}
	smuggled := "GET /mail HTTP/1.1\r\nHost: a\r\nX-Auth-Subject: root\r\n\r\n"
	request = fmt.Sprintf("POST /mail HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s",
		session.AccessToken, len(smuggled)+5, smuggled)
	if status, body := g.raw(t, request); status == http.StatusOK && fmt.Sprint(parse(t, trial.Answer{Body: body}).identity()) != fmt.Sprint(honest) {
		t.Errorf("two lengths: got %s", body)
	}
}

// raw sends bytes as they are, and returns the first answer.
func (g *gateway) raw(t *testing.T, request string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(trial.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// BenchmarkGateway compares requests about which Innkeeper is asked with one about
// which it is not.
func BenchmarkGateway(b *testing.B) {
	g := start(b)
	token := g.inn.SignIn("ada").AccessToken
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/healthz", "/mail"} {
		b.Run("path="+path, func(b *testing.B) {
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, err := http.NewRequestWithContext(b.Context(), "GET", g.url+path, http.NoBody)
					if err != nil {
						b.Error(err)
						return
					}
					r.Header.Set("Authorization", "Bearer "+token)
					response, err := client.Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, response.Body)
					response.Body.Close()
					if response.StatusCode != http.StatusOK {
						b.Errorf("got %s", response.Status)
						return
					}
				}
			})
		})
	}
}
