package interop_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const password = "correct horse battery staple"

// binary is the program that all tests run.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "innkeeper-interop-")
		if err != nil {
			log.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "innkeeper")
		build := exec.Command("go", "build", "-o", binary, "./cmd/innkeeper")
		build.Dir, build.Stdout, build.Stderr = "..", os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			log.Fatal(err)
		}
		return m.Run()
	}())
}

// inn is the binary behind a proxy that speaks TLS, with a certificate of an
// authority that was made for this test.
type inn struct {
	t      *testing.T
	issuer string
	client *http.Client // trusts the authority
	caFile string
	data   string
	log    *locked
	faults atomic.Pointer[func(*http.Request) fault]
	hits   [len(faultNames)]atomic.Int64
}

// open runs a server with these flags and the user ada, who may read mail.
func open(t *testing.T, flags ...string) *inn {
	t.Helper()
	dir := t.TempDir()
	i := &inn{t: t, data: filepath.Join(dir, "data"), caFile: filepath.Join(dir, "ca.pem"), log: &locked{}}
	listener := i.listenTLS()
	i.issuer = fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
	i.run("", "role", "set", "reader", "mail:read")
	i.run(password, "user", "add", "ada", "--role", "reader", "--password-stdin")
	backend := i.serve(flags)
	server := httptest.NewUnstartedServer(i.proxy(backend))
	_ = server.Listener.Close()
	server.Listener = listener
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that were cut on purpose
	server.Start()
	t.Cleanup(server.Close)
	return i
}

// listenTLS makes an authority, and listens with a certificate of it.
func (i *inn) listenTLS() net.Listener {
	i.t.Helper()
	authority, authorityKey := i.certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "interop test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, key := i.certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, authorityKey)
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	i.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 16}}
	i.t.Cleanup(i.client.CloseIdleConnections)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	i.must(os.WriteFile(i.caFile, text, 0o600))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
	})
	i.must(err)
	return listener
}

// certificate issues a certificate; without an issuer, by itself.
func (i *inn) certificate(template, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	i.must(err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	i.must(err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	i.must(err)
	certificate, err := x509.ParseCertificate(raw)
	i.must(err)
	return certificate, key
}

// serve starts the binary and returns where it listens, once it is ready. Somebody
// may take the port between the look for a free one and the start.
func (i *inn) serve(flags []string) *url.URL {
	i.t.Helper()
	for range 5 {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		i.must(err)
		addr := free.Addr().String()
		i.must(free.Close())
		cmd := exec.Command(binary, append([]string{"serve", "--data", i.data, "--listen", addr, "--issuer", i.issuer,
			"--refresh-limit", "0", // clients are tried with a thousand refreshes in a few seconds
		}, flags...)...)
		cmd.Stdout, cmd.Stderr = i.log, i.log
		i.must(cmd.Start())
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		i.t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
		if ready("http://"+addr, ended) {
			return &url.URL{Scheme: "http", Host: addr}
		}
	}
	i.t.Fatalf("the server did not start:\n%s", i.log)
	return nil
}

// ready waits until a server answers, or has ended.
func ready(server string, ended <-chan struct{}) bool {
	for {
		resp, err := http.Get(server + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// run runs a command beside the server, and returns what it prints.
func (i *inn) run(stdin string, args ...string) string {
	i.t.Helper()
	cmd := exec.Command(binary, append(args, "--data", i.data)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		i.t.Fatalf("innkeeper %v: %v\n%s", args, err, &stderr)
	}
	return string(out)
}

// addService returns the secret of a new service.
func (i *inn) addService(name string, scopes ...string) string {
	i.t.Helper()
	args := []string{"service", "add", name, "--output", "json"}
	for _, scope := range scopes {
		args = append(args, "--scope", scope)
	}
	var added struct{ Secret string }
	i.must(json.Unmarshal([]byte(i.run("", args...)), &added))
	return added.Secret
}

// tokens is the answer to a sign-in.
type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Session      struct{ ID string }
}

func (i *inn) signIn() tokens {
	i.t.Helper()
	resp, err := i.client.Post(i.issuer+"/auth/login", "application/json",
		strings.NewReader(`{"username":"ada","password":"`+password+`","delivery":"body"}`))
	i.must(err)
	defer resp.Body.Close()
	var signedIn tokens
	i.must(json.NewDecoder(resp.Body).Decode(&signedIn))
	if resp.StatusCode != http.StatusOK {
		i.t.Fatalf("signing in: %s", resp.Status)
	}
	return signedIn
}

// status asks /auth/me, which asks the store.
func (i *inn) status(accessToken string) int {
	i.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, i.issuer+"/auth/me", nil)
	i.must(err)
	req.Header.Set("Authorization", "Bearer "+accessToken)
	resp, err := i.client.Do(req)
	i.must(err)
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (i *inn) must(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

// fault is what the proxy does to a request.
type fault int

const (
	none         fault = iota
	before             // 503, and the server has seen nothing
	after              // 503, and the server has done it
	afterGateway       // the same, as a proxy says it, in HTML
	afterGarbage       // 200, and half of the JSON
	afterEmpty         // 200, and no token in it
	afterCut           // the server has done it, and the connection is gone
)

var faultNames = [...]string{"none", "503 before", "503 after", "502 in HTML after", "half of the JSON after", "no token after", "cut after"}

func (i *inn) inject(faults func(*http.Request) fault) { i.faults.Store(&faults) }

// proxy passes requests on, and does harm to those of the token endpoint.
func (i *inn) proxy(backend *url.URL) http.Handler {
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(backend) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harm := none
		if faults := i.faults.Load(); faults != nil && r.URL.Path == "/oauth/token" {
			harm = (*faults)(r)
			i.hits[harm].Add(1)
		}
		switch harm {
		case none:
			forward.ServeHTTP(w, r)
			return
		case before:
			http.Error(w, `{"error":"temporarily_unavailable"}`, http.StatusServiceUnavailable)
			return
		}
		done := httptest.NewRecorder()
		forward.ServeHTTP(done, r)
		harmed(w, harm, done)
	})
}

func harmed(w http.ResponseWriter, harm fault, done *httptest.ResponseRecorder) {
	body := done.Body.Bytes()
	switch harm {
	case after:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"error":"temporarily_unavailable"}`)
	case afterGateway:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<h1>502 Bad Gateway</h1>")
	case afterGarbage:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body[:len(body)/2])
	case afterEmpty:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	default:
		panic(http.ErrAbortHandler)
	}
}

// locked is a buffer for several writers.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
