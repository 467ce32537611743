package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/webhook"
)

// courier carries what an authority sends to another URL than the authority knows, and
// remembers the message.
type courier struct {
	*webhook.Sender
	url  string
	last chan innkeeper.WebhookMessage
}

func (c courier) Send(ctx context.Context, m innkeeper.WebhookMessage) error {
	m.URL = c.url
	err := c.Sender.Send(ctx, m)
	select {
	case c.last <- m:
	default:
	}
	return err
}

// message returns a message of a real authority, for a URL.
func message(t *testing.T, url string) innkeeper.WebhookMessage {
	t.Helper()
	return told(t, webhook.NewSender(webhook.Config{ThisMachine: true}), url, nil)
}

// told lets an authority tell a URL of one event, after prepare has been at its
// webhook, and returns the message.
func told(t *testing.T, sender *webhook.Sender, url string, prepare func(*innkeeper.Authority, *innkeeper.Webhook, innkeeper.WebhookSecret)) innkeeper.WebhookMessage {
	t.Helper()
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	c := courier{Sender: sender, url: url, last: make(chan innkeeper.WebhookMessage, 1)}
	authority, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: "https://auth.example.com", Stores: memory.New().Stores(), RootKeys: roots, Clock: time.Now, Webhooks: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	hook, secret, err := authority.AddWebhook(t.Context(), "https://app.example.com/", []string{"role.set"}, innkeeper.ActorOperator)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(authority, hook, secret)
	}
	if err := authority.SetRole(t.Context(), innkeeper.Role{Name: "clerk", Permissions: []string{"mail:read"}}, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		authority.Run(ctx)
	}()
	defer func() {
		cancel()
		<-over
	}()
	select {
	case m := <-c.last:
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was sent")
		return innkeeper.WebhookMessage{}
	}
}

// TestStandardWebhooks verifies what arrives with the reference library, with the secret
// as an operator is given it, and with both secrets while two overlap.
func TestStandardWebhooks(t *testing.T) {
	type request struct {
		header http.Header
		body   []byte
	}
	received := make(chan request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received <- request{r.Header, body}
	}))
	defer server.Close()
	var secrets []string
	told(t, webhook.NewSender(webhook.Config{UserAgent: "innkeeper/1", ThisMachine: true}), server.URL, func(a *innkeeper.Authority, hook *innkeeper.Webhook, first innkeeper.WebhookSecret) {
		second, err := a.RotateWebhookSecret(t.Context(), hook.ID, time.Hour, innkeeper.ActorOperator)
		if err != nil {
			t.Fatal(err)
		}
		secrets = []string{first.Reveal(), second.Reveal()}
	})
	got := <-received
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) < 24 || len(key) > 64 {
			t.Fatalf("the secret holds %d bytes, %v", len(key), err)
		}
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(got.body, got.header); err != nil {
			t.Errorf("the reference library says %v", err)
		}
		if err := verifier.Verify(append(got.body, ' '), got.header); err == nil {
			t.Error("the reference library takes a body that was changed")
		}
	}
	if signatures := strings.Split(got.header.Get("Webhook-Signature"), " "); len(signatures) != 2 {
		t.Errorf("the signatures are %q", signatures)
	}
	if got.header.Get("Content-Type") != "application/json" || got.header.Get("User-Agent") != "innkeeper/1" || !strings.HasPrefix(got.header.Get("Webhook-Id"), "msg_") {
		t.Errorf("the header is %v", got.header)
	}
	if want := `"data":{"at":"`; !strings.HasPrefix(string(got.body), `{"type":"role.set","timestamp":"`) || !strings.Contains(string(got.body), want) {
		t.Errorf("the body is %s", got.body)
	}
}

// TestFaultsOfReceivers meets what goes wrong out there.
func TestFaultsOfReceivers(t *testing.T) {
	m := message(t, "http://127.0.0.1:1/")
	var followed atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer elsewhere.Close()
	status := func(status int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
		}
	}
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   string // of the error; empty: there is none
		after  time.Duration
	}{
		"200":            {status(200), "", 0},
		"204":            {status(204), "", 0},
		"299":            {status(299), "", 0},
		"500":            {status(500), "answered 500", 0},
		"429":            {status(429, "Retry-After", "120"), "answered 429", 2 * time.Minute},
		"503 with date":  {status(503, "Retry-After", m.At.Add(time.Hour).UTC().Format(http.TimeFormat)), "answered 503", time.Hour},
		"503 with words": {status(503, "Retry-After", "soon"), "answered 503", 0},
		"410":            {status(410), "answered 410", 0},
		"301":            {status(301, "Location", elsewhere.URL), "answered 301", 0},
		"307":            {status(307, "Location", elsewhere.URL), "answered 307", 0},
		"308":            {status(308, "Location", elsewhere.URL), "answered 308", 0},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "", 0},
		"headers of 1 MB": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "header", 0},
		"reset": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0) // a reset, and no orderly end
			_ = conn.Close()
		}, "reset", 0},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timed out", 0},
		"half an answer": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "", 0}, // it has said 200
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // so that it sees the client go
				test.handle(w, r)
			}))
			defer server.Close()
			patience := time.Minute
			switch name {
			case "no answer":
				patience = time.Second
			case "half an answer": // it has to say 200 meanwhile
				patience = 5 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			m := m
			m.URL = server.URL + "/secret-path"
			err := webhook.NewSender(webhook.Config{ThisMachine: true}).Send(ctx, m)
			server.CloseClientConnections()
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret-path") {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			var refused *innkeeper.WebhookRefusedError
			if errors.As(err, &refused) && refused.RetryAfter.Round(2*time.Second) != test.after {
				t.Errorf("it wants to be left alone for %s, want %s", refused.RetryAfter, test.after)
			}
		})
	}
	t.Cleanup(func() {
		if n := followed.Load(); n != 0 {
			t.Errorf("%d redirects were followed", n)
		}
	})
}

// TestSendEndsWithItsContext tells a server that stops from a receiver that is slow.
func TestSendEndsWithItsContext(t *testing.T) {
	began := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		_, _ = io.Copy(io.Discard, r.Body) // so that it sees the client go
		<-r.Context().Done()
	}))
	defer server.Close()
	m := message(t, "http://127.0.0.1:1/")
	m.URL = server.URL
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if err := webhook.NewSender(webhook.Config{ThisMachine: true}).Send(ctx, m); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestTLS takes no certificate of an unknown authority, and none for another name.
func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	server.Config.ErrorLog = nil
	m := message(t, "http://127.0.0.1:1/")
	known := x509.NewCertPool()
	known.AddCert(server.Certificate())
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		url   string
		roots *x509.CertPool
		want  string
	}{
		{server.URL, known, ""},
		{server.URL, x509.NewCertPool(), "unknown authority"},
		{"https://localhost:" + port, known, "certificate is valid for example.com"},
	} {
		m.URL = test.url
		err := webhook.NewSender(webhook.Config{ThisMachine: true, TLS: &tls.Config{RootCAs: test.roots, MinVersion: tls.VersionTLS12}}).Send(t.Context(), m)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", test.url, err, test.want)
		}
	}
}

// A connection of HTTP/2 that has died in silence is given up, and deliveries go on.
func TestDeadConnection(t *testing.T) {
	var got atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("%s, want HTTP/2", r.Proto)
		}
		got.Add(1)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	line, err := testengine.NewProxy(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	m := message(t, "http://127.0.0.1:1/")
	m.URL = "https://" + line.Addr()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	sender := webhook.NewSender(webhook.Config{ThisMachine: true, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	if err := sender.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	line.Freeze()
	for deadline := time.Now().Add(time.Minute); got.Load() < 2; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was delivered for a minute after the connection had died")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // as the authority does
		_ = sender.Send(ctx, m)
		cancel()
	}
}

// nameServer answers every question for an address with its next one, and every other
// question with nothing. It is a real one, on loopback.
func nameServer(t *testing.T, answers ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for asked := 0; ; {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			reply := append([]byte{}, buffer[:n]...)
			end := 12 // after the header stands the name, label by label
			for reply[end] != 0 {
				end += int(reply[end]) + 1
			}
			isA := reply[end+2] == 1
			reply = reply[:end+5]
			reply[2], reply[3] = 0x81, 0x80
			reply[6], reply[7], reply[8], reply[9], reply[10], reply[11] = 0, 0, 0, 0, 0, 0
			if isA {
				reply[7] = 1
				addr := netip.MustParseAddr(answers[min(asked, len(answers)-1)]).As4()
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				reply = append(reply, addr[:]...)
				asked++
			}
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// TestServersForgeNoRequests sends to names and addresses of places that only the
// server can reach (ASVS 1.3.6). Nothing may knock at their doors.
func TestServersForgeNoRequests(t *testing.T) {
	var knocked atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { knocked.Add(1) }))
	defer inside.Close()
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	m := message(t, "http://127.0.0.1:1/")
	send := func(cfg webhook.Config, url string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		m.URL = url
		return webhook.NewSender(cfg).Send(ctx, m)
	}
	refused := func(cfg webhook.Config, url string) {
		t.Helper()
		var address *webhook.AddressError
		if err := send(cfg, url); !errors.As(err, &address) {
			t.Errorf("%s gave %v", url, err)
		}
	}
	for _, host := range []string{
		"10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.0.1", "198.18.0.1",
		"224.0.0.1", "240.0.0.1", "255.255.255.255", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[::]", "[ff02::1]",
		"[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[2001:db8::1]", "[::127.0.0.1]",
	} {
		refused(webhook.Config{}, fmt.Sprintf("https://%s:%s/", host, port))
	}

	// A name that leads inside, at once or when it is looked up for the second time.
	for _, answer := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254"} {
		refused(webhook.Config{Resolver: nameServer(t, answer), ThisMachine: true}, "https://rebound.example.com:"+port+"/")
	}
	if err := send(webhook.Config{}, "http://app.example.com:"+port+"/"); err == nil || !strings.Contains(err.Error(), "neither https") {
		t.Errorf("plain http to elsewhere gave %v", err)
	}
	if n := knocked.Load(); n != 0 {
		t.Fatalf("it was knocked at %d doors", n)
	}

	// What the operator allows is allowed, and nothing else of it.
	allowed := webhook.Config{Resolver: nameServer(t, "127.0.0.1"), AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	var address *webhook.AddressError
	if err := send(allowed, "https://inside.example.com:"+port+"/"); errors.As(err, &address) || err == nil || !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		t.Errorf("an allowed network gave %v, want the connection, which speaks no TLS", err)
	}
	for _, url := range []string{"http://127.0.0.1:" + port + "/", "http://localhost:" + port + "/"} {
		refused(webhook.Config{}, url)
		if err := send(webhook.Config{ThisMachine: true}, url); err != nil {
			t.Errorf("%s gave %v", url, err)
		}
	}
	if n := knocked.Load(); n != 2 {
		t.Errorf("this machine was told %d times, want 2", n)
	}
}
