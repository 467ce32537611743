package deploy_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// manual returns a shell block of docs/operate.md: the one after <!-- try: NAME -->.
func manual(t testing.TB, name string) string {
	t.Helper()
	_, after, found := strings.Cut(read(t, "../docs/operate.md"), "<!-- try: "+name+" -->")
	_, after, open := strings.Cut(after, "```sh\n")
	block, _, closed := strings.Cut(after, "```")
	if !found || !open || !closed {
		t.Fatalf("docs/operate.md has no block %q", name)
	}
	return block
}

// machine is a server on one machine, as the manual has it, with other directories.
type machine struct {
	t    testing.TB
	root string // in place of /
	node *process
}

// newMachine installs the binary, and a configuration like the one in the manual.
func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir(), node: &process{t: t, name: "server", addr: freeAddr(t)}}
	for dir, mode := range map[string]os.FileMode{"etc/innkeeper": 0o700, "var/lib/innkeeper": 0o700, "var/backups": 0o755, "bin": 0o755} {
		if err := os.MkdirAll(filepath.Join(m.root, dir), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(builtBinary(t), filepath.Join(m.root, "bin/innkeeper")); err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(read(t, "../docs/operate.md"), "```yaml\n")
	settings, _, _ := strings.Cut(after, "```")
	if err := os.WriteFile(filepath.Join(m.root, "etc/innkeeper/innkeeper.yaml"), []byte(m.here(settings)), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// here moves absolute paths of the manual below the root of the machine.
func (m *machine) here(text string) string {
	return strings.NewReplacer("/etc/innkeeper", m.root+"/etc/innkeeper", "/var/lib", m.root+"/var/lib",
		"/var/backups", m.root+"/var/backups").Replace(text)
}

// run runs a script like an operator would.
func (m *machine) run(script, stdin string) string {
	m.t.Helper()
	cmd := exec.Command("sh", "-euc", m.here(script))
	cmd.Dir, cmd.Stdin = m.root, strings.NewReader(stdin)
	cmd.Env = []string{"PATH=" + filepath.Join(m.root, "bin") + ":" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

func (m *machine) start() {
	m.t.Helper()
	m.node.launch(exec.Command(builtBinary(m.t), "serve", "--listen", m.node.addr,
		"--config", filepath.Join(m.root, "etc/innkeeper/innkeeper.yaml")))
}

func (m *machine) stop() {
	m.t.Helper()
	m.node.end(syscall.SIGTERM)
}

func (m *machine) restart() {
	m.t.Helper()
	m.stop()
	m.start()
}

func (m *machine) signIn() *answer {
	m.t.Helper()
	a, err := signIn(m.node.addr)
	return must(m.t, http.StatusOK, a, err)
}

func (m *machine) refresh(a *answer) *answer {
	m.t.Helper()
	next, err := refresh(m.node.addr, a.RefreshToken, newKey(a.Session.Generation))
	if err != nil {
		m.t.Fatal(err)
	}
	return next
}

// TestRootKeyRotation follows the manual, with sessions that live through it.
func TestRootKeyRotation(t *testing.T) {
	m := newMachine(t)
	m.run("innkeeper --config /etc/innkeeper/innkeeper.yaml user add ada --password-stdin", guestPassword)
	m.start()
	a := m.signIn()

	m.run(manual(t, "rotate 1"), "")
	m.restart()
	a = must(t, http.StatusOK, m.refresh(a), nil)
	before := m.signIn() // and is away for a while

	m.run(manual(t, "rotate 2"), "")
	m.restart()
	a = must(t, http.StatusOK, m.refresh(a), nil) // from the old key to the new one
	a = must(t, http.StatusOK, m.refresh(a), nil)

	listed := m.run(manual(t, "rotate 3"), "")
	_, listed, _ = strings.Cut(listed, "MINTED UNTIL\n")
	rows := strings.Fields(listed)
	if len(rows) != 6 || rows[1] != "minting" || rows[4] != "retired" {
		t.Fatalf("root keys are listed as\n%s", listed)
	}
	must(t, http.StatusOK, m.refresh(before), nil) // by the old key's token

	remove := "innkeeper --config /etc/innkeeper/innkeeper.yaml rootkey remove " + rows[3]
	if out := m.run("! "+remove+" 2>&1", ""); !strings.Contains(out, "may be alive until") {
		t.Errorf("removing it at once: %s", out)
	}
	m.run(remove+" --session-ttl 1ns", "") // as if a month had gone by
	m.restart()
	must(t, http.StatusOK, m.refresh(a), nil)
	m.stop()
}

// TestRestore follows the manual. A session that was ended after the backup must
// not come back.
func TestRestore(t *testing.T) {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("sqlite3 is not installed")
	}
	m := newMachine(t)
	m.run("innkeeper --config /etc/innkeeper/innkeeper.yaml user add ada --password-stdin", guestPassword)
	m.start()
	refreshed, untouched, ended := m.signIn(), m.signIn(), m.signIn()
	m.run(manual(t, "backup"), "")
	refreshed = must(t, http.StatusOK, m.refresh(refreshed), nil)
	out, err := call("POST", m.node.addr, "/auth/logout", map[string]string{"refresh_token": ended.RefreshToken})
	must(t, http.StatusNoContent, out, err)
	opened := m.signIn()
	m.stop()

	said := m.run(manual(t, "restore"), "")
	if !strings.Contains(read(t, "../docs/operate.md"), "\n    "+said) {
		t.Errorf("the manual does not say what it prints: %q", said)
	}
	m.start()
	for name, a := range map[string]*answer{"refreshed": refreshed, "untouched": untouched, "ended": ended, "opened": opened} {
		got := must(t, http.StatusUnauthorized, m.refresh(a), nil)
		if got.Code != "session_ended" || name != "opened" && got.Reason != "restored" {
			t.Errorf("a session that was %s: %v", name, got)
		}
	}
	must(t, http.StatusOK, m.refresh(m.signIn()), nil)
	m.stop()
}

// TestRestoreRevokesKeys follows the manual after a key was stolen, revoked, and brought
// back by a backup.
func TestRestoreRevokesKeys(t *testing.T) {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("sqlite3 is not installed")
	}
	const innkeeper = "innkeeper --config /etc/innkeeper/innkeeper.yaml "
	m := newMachine(t)
	m.run(innkeeper+"user add ada --password-stdin", guestPassword)
	m.start()
	stolen := keyOf(t, m.signIn())
	m.run(manual(t, "backup"), "")
	m.run(innkeeper+"key retire --emergency "+stolen, "")
	m.stop()

	m.run(manual(t, "restore"), "")
	// Somebody leaves out a step: this is why it is one.
	m.start()
	a := m.signIn()
	check := func(a *answer) (*answer, error) {
		return call("GET", m.node.addr, "/auth/check", nil, "Authorization", "Bearer "+a.AccessToken)
	}
	if got, err := check(a); err != nil || got.status != http.StatusOK || keyOf(t, a) != stolen {
		t.Fatalf("a token of the key %s: got %v, %v; the key %s was stolen", keyOf(t, a), got, err, stolen)
	}
	m.stop()

	m.run(manual(t, "restore keys"), "")
	m.start()
	refused, err := check(a)
	if must(t, http.StatusUnauthorized, refused, err); refused.Code != "access_token_revoked" {
		t.Errorf("a token of the stolen key: %v", refused)
	}
	renewed := must(t, http.StatusOK, m.refresh(a), nil)
	allowed, err := check(renewed)
	must(t, http.StatusOK, allowed, err)
	if keyOf(t, renewed) == stolen {
		t.Error("the stolen key signs")
	}
	var set struct {
		Keys []struct{ Kid, State string }
	}
	listed := m.run(innkeeper+"key list --output json", "")
	if err := json.Unmarshal([]byte(`{"keys":`+listed+`}`), &set); err != nil {
		t.Fatalf("%v in %s", err, listed)
	}
	for _, key := range set.Keys {
		if key.Kid == stolen && key.State != "removed" {
			t.Errorf("the stolen key is %s", key.State)
		}
	}
	m.stop()
}

// keyOf is the key that an access token names.
func keyOf(t testing.TB, a *answer) string {
	t.Helper()
	segment, _, _ := strings.Cut(a.AccessToken, ".")
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ Kid string }
	if err := json.Unmarshal(text, &header); err != nil {
		t.Fatal(err)
	}
	return header.Kid
}
