package grpccredentials_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innkeeper-auth/innkeeper/client"
	"github.com/innkeeper-auth/innkeeper/client/grpccredentials"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/verify"
)

// server is a real gRPC server over TLS, whose methods want an access token.
type server struct {
	addr  string
	roots *x509.CertPool
	calls atomic.Int64
}

func newServer(t *testing.T, inn *innkeepertest.Inn) *server {
	t.Helper()
	verifier, err := verify.New(verify.Config{Issuer: inn.URL, Now: inn.Clock.Now, Skew: verify.NoSkew})
	check(t, err)
	s := &server{roots: x509.NewCertPool()}
	authorize := func(ctx context.Context) error {
		s.calls.Add(1)
		values := metadata.ValueFromIncomingContext(ctx, "authorization")
		if len(values) != 1 {
			return status.Error(codes.Unauthenticated, "no token")
		}
		if _, err := verifier.Verify(ctx, strings.TrimPrefix(values[0], "Bearer ")); err != nil {
			return status.Error(codes.Unauthenticated, err.Error())
		}
		return nil
	}
	lender := httptest.NewUnstartedServer(nil) // of a certificate for example.com and 127.0.0.1
	lender.StartTLS()
	t.Cleanup(lender.Close)
	s.roots.AddCert(lender.Certificate())
	g := grpc.NewServer(
		grpc.Creds(credentials.NewServerTLSFromCert(&lender.TLS.Certificates[0])),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := authorize(ctx); err != nil {
				return nil, err
			}
			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := authorize(ss.Context()); err != nil {
				return err
			}
			return next(srv, ss)
		}),
	)
	healthpb.RegisterHealthServer(g, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s.addr = listener.Addr().String()
	go func() { _ = g.Serve(listener) }()
	t.Cleanup(g.Stop)
	return s
}

func (s *server) dial(t *testing.T, options ...grpc.DialOption) healthpb.HealthClient {
	t.Helper()
	conn, err := grpc.NewClient(s.addr, options...)
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return healthpb.NewHealthClient(conn)
}

func (s *server) tls() grpc.DialOption {
	return grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}))
}

// signedIn is somebody whose clock goes so slowly that servers notice first when a token
// has expired.
func signedIn(t *testing.T, inn *innkeepertest.Inn) *client.Source {
	t.Helper()
	start := inn.Clock.Now()
	source, err := client.New(client.Config{Server: inn.URL, Store: client.NewMemoryStore(), Now: func() time.Time {
		return start.Add(inn.Clock.Now().Sub(start) / 20)
	}})
	check(t, err)
	t.Cleanup(func() { _ = source.Close() })
	check(t, source.Login(t.Context(), client.Credentials{Username: "ada", Password: innkeepertest.Password}))
	return source
}

func TestCalls(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	s := newServer(t, inn)
	source := signedIn(t, inn)
	creds, err := grpccredentials.New(source, "https://"+s.addr)
	check(t, err)
	api := s.dial(t, append(creds.DialOptions(), s.tls())...)

	unary := func() error {
		_, err := api.Check(t.Context(), &healthpb.HealthCheckRequest{})
		return err
	}
	stream := func() error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		watch, err := api.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			return err
		}
		_, err = watch.Recv()
		return err
	}
	for name, call := range map[string]func() error{"unary": unary, "stream": stream} {
		before := s.calls.Load()
		if err := call(); err != nil || s.calls.Load() != before+1 {
			t.Errorf("%s: %v after %d calls", name, err, s.calls.Load()-before)
		}
		inn.Clock.Advance(16 * time.Minute)
		before = s.calls.Load()
		if err := call(); err != nil || s.calls.Load() != before+2 {
			t.Errorf("%s, of an expired token: %v after %d calls", name, err, s.calls.Load()-before)
		}
	}

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := api.Check(canceled, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("canceled: %v", err)
	}
	check(t, source.Logout(t.Context(), client.LogoutThis))
	before := s.calls.Load()
	for name, call := range map[string]func() error{"unary": unary, "stream": stream} {
		if err := call(); status.Code(err) != codes.Unauthenticated || s.calls.Load() != before {
			t.Errorf("%s, signed out: %v after %d calls", name, err, s.calls.Load()-before)
		}
	}
}

// TestUnreachableServer is UNAVAILABLE: the session may be as good as ever.
func TestUnreachableServer(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	s := newServer(t, inn)
	store := client.NewMemoryStore()
	gone := httptest.NewServer(nil)
	gone.Close()
	source, err := client.New(client.Config{Server: gone.URL, Store: store, RefreshTimeout: 100 * time.Millisecond})
	check(t, err)
	t.Cleanup(func() { _ = source.Close() })
	check(t, store.Save(t.Context(), &client.Session{
		Server: gone.URL, ID: "a", Generation: 1, User: client.User{ID: "b"}, RefreshToken: client.NewSecret("ikr_1"),
	}))
	creds, err := grpccredentials.New(source, "https://"+s.addr)
	check(t, err)
	api := s.dial(t, append(creds.DialOptions(), s.tls())...)
	if _, err := api.Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("error = %v", err)
	}
}

// TestTokenStaysHere where somebody could read it, or where it has no business.
func TestTokenStaysHere(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	s := newServer(t, inn)
	source := inn.Client("ada")
	other, err := grpccredentials.New(source, "https://api.example.com")
	check(t, err)
	api := s.dial(t, append(other.DialOptions(), s.tls())...)
	if _, err := api.Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated || s.calls.Load() != 0 {
		t.Errorf("another origin: %v after %d calls", err, s.calls.Load())
	}
	ours, err := grpccredentials.New(source, "https://"+s.addr)
	check(t, err)
	if _, err := grpc.NewClient(s.addr, append(ours.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...); err == nil {
		t.Error("a connection without TLS was made")
	}
	if _, err := ours.GetRequestMetadata(t.Context(), "https://"+s.addr+"/x"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a connection: %v", err)
	}
	if _, err := grpccredentials.New(source, "http://api.example.com"); err == nil {
		t.Error("an origin without TLS")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
