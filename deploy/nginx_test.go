package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

// nginxConf is nginx.conf with addresses of this machine in place of names. Every
// answer names the nodes that were asked, in X-Asked.
func nginxConf(t testing.TB, node1, node2 string) string {
	t.Helper()
	conf := read(t, "nginx.conf")
	conf = replace(t, conf, "server node1:8080 ", "server "+node1+" ")
	conf = replace(t, conf, "server node2:8080 ", "server "+node2+" ")
	return replace(t, conf, "    listen 8080;\n", "    listen {{addr}};\n    add_header X-Asked $upstream_addr always;\n")
}

func startNginx(t testing.TB, conf string) *testengine.Nginx {
	t.Helper()
	nginx, err := testengine.StartNginx(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nginx.Close(); err != nil {
			t.Error(err)
		}
	})
	return nginx
}

// node is a server that counts requests, and does not do what it should.
type node struct {
	addr  string
	asked atomic.Int32
	path  atomic.Value
}

// startNode starts a node. The mood is what becomes of a request that it has read:
// "hangs up", "refuses" (there is no node), or else it answers with that status.
func startNode(t testing.TB, mood string) *node {
	t.Helper()
	if mood == "refuses" {
		return &node{addr: freeAddr(t)}
	}
	n := &node{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.asked.Add(1)
		n.path.Store(r.URL.RequestURI())
		_, _ = io.Copy(io.Discard, r.Body)
		switch mood {
		case "hangs up":
			panic(http.ErrAbortHandler)
		case "503":
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	n.addr = server.Listener.Addr().String()
	t.Cleanup(server.Close)
	return n
}

// TestLargeHeads sends the largest access token, and gets the permissions in it back.
func TestLargeHeads(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Auth-Permissions", strings.Repeat("x", 12<<10))
		w.Header().Set("X-Length", strconv.Itoa(len(r.Header.Get("Authorization"))))
	}))
	t.Cleanup(server.Close)
	node := server.Listener.Addr().String()
	nginx := startNginx(t, nginxConf(t, node, node))
	req, err := http.NewRequest("GET", "http://"+nginx.Addr()+"/auth/check", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	token := "Bearer " + strings.Repeat("x", accesstoken.MaxSize)
	req.Header.Set("Authorization", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Length") != strconv.Itoa(len(token)) || len(resp.Header.Get("X-Auth-Permissions")) != 12<<10 {
		t.Errorf("got %s, and the node %s of %d bytes", resp.Status, resp.Header.Get("X-Length"), len(token))
	}
}

// TestWhatIsRepeated asks nginx, in front of a node that fails and one that does
// not, what the second one gets to see. A request that is repeated although it must
// not be opens two sessions, or ends one.
func TestWhatIsRepeated(t *testing.T) {
	const key = `"k3vT0c8mZ1q9fWxY2sLd";generation=3`
	const once, twice = false, true
	for _, tc := range []struct {
		method, path, key string
		mood              string // of the first node
		want              bool
	}{
		{"POST", "/auth/refresh", key, "hangs up", twice},
		{"POST", "/auth/refresh", "", "hangs up", once},
		{"POST", "/auth/refresh?a=b", "", "hangs up", once},
		{"POST", "/auth/login", "", "hangs up", once},
		{"POST", "/auth/login", key, "hangs up", once},
		{"POST", "/auth/logout", "", "hangs up", once},
		{"PATCH", "/admin/users/1", "", "hangs up", once},
		{"GET", "/auth/me", "", "hangs up", twice},
		{"DELETE", "/auth/sessions/1", "", "hangs up", twice},

		{"POST", "/auth/refresh", key, "refuses", twice},
		{"POST", "/auth/refresh", "", "refuses", twice},
		{"POST", "/auth/login", "", "refuses", twice},
		{"PATCH", "/admin/users/1", "", "refuses", twice},

		{"POST", "/auth/refresh", key, "503", once},
		{"GET", "/auth/me", "", "503", once},
	} {
		name := tc.method + " " + tc.path + " " + tc.mood
		if tc.key != "" {
			name += " with key"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := startNode(t, tc.mood), startNode(t, "200")
			nginx := startNginx(t, nginxConf(t, bad.addr, good.addr))
			// nginx begins with the first node, and has forgotten nothing yet.
			req, err := http.NewRequest(tc.method, "http://"+nginx.Addr()+tc.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if tc.key != "" {
				req.Header.Set("Idempotency-Key", tc.key)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if repeated := good.asked.Load() == 1; repeated != tc.want || bad.asked.Load() > 1 || good.asked.Load() > 1 {
				t.Errorf("the nodes were asked %d and %d times; %s", bad.asked.Load(), good.asked.Load(), resp.Header.Get("X-Asked"))
			}
			switch {
			case tc.want && (resp.StatusCode != http.StatusOK || good.path.Load() != tc.path):
				t.Errorf("got %d; the node was asked for %v", resp.StatusCode, good.path.Load())
			case !tc.want && (resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == ""):
				t.Errorf("got %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
			case !tc.want && tc.mood == "hangs up" &&
				(resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(body), `"unavailable"`)):
				t.Errorf("got %s %s", resp.Header.Get("Content-Type"), body)
			}
		})
	}
}

// TestNginxLimits sends too much and too often.
func TestNginxLimits(t *testing.T) {
	good := startNode(t, "200")
	nginx := startNginx(t, nginxConf(t, good.addr, good.addr))
	post := func(path string, size int) (int, http.Header) {
		resp, err := http.Post("http://"+nginx.Addr()+path, "application/json", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Header
	}
	if status, _ := post("/auth/refresh", 64<<10); status != http.StatusOK {
		t.Errorf("64 KiB: %d", status)
	}
	if status, _ := post("/auth/refresh", 64<<10+1); status != http.StatusRequestEntityTooLarge {
		t.Errorf("more than 64 KiB: %d", status)
	}
	for i := range 40 {
		status, header := post("/auth/login", 2)
		switch {
		case i <= 20 && status != http.StatusOK:
			t.Fatalf("sign-in %d: %d", i, status)
		case status == http.StatusTooManyRequests:
			if header.Get("Retry-After") == "" || header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %v", header)
			}
			return
		}
	}
	t.Error("40 sign-ins at once were let through")
}

// TestNginxTLS removes "#tls ", as the file says, and calls over https.
func TestNginxTLS(t *testing.T) {
	certificate, key, roots := selfSigned(t)
	good := startNode(t, "200")
	conf := replace(t, nginxConf(t, good.addr, good.addr), "#tls ", "")
	conf = replace(t, conf, "/etc/nginx/tls/fullchain.pem", certificate)
	conf = replace(t, conf, "/etc/nginx/tls/privkey.pem", key)
	conf = replace(t, conf, "listen {{addr}};", "") // on this machine there is one port for us
	conf = replace(t, conf, "listen 443 ssl;", "listen {{addr}} ssl;")
	nginx := startNginx(t, conf)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := client.Get("https://" + nginx.Addr() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("got %v", resp)
	}
}

func selfSigned(t testing.TB) (certificateFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	roots = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	return write("fullchain.pem", "CERTIFICATE", certificate), write("privkey.pem", "PRIVATE KEY", private), roots
}
