// Package deploy_test tries what stands in this directory: it reads the files as
// they are and runs what they describe, without containers.
package deploy_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// composition is what this test needs to know of compose.yaml.
type composition struct {
	Services map[string]service
	Secrets  map[string]struct{ File string }
}

// service is one entry of the composition.
type service struct {
	Image       string
	Build       map[string]any
	Command     []string
	Environment map[string]string
	Secrets     []string
	Ports       []string
	User        string
	Networks    any
	Healthcheck map[string]any
	StopGrace   time.Duration `yaml:"stop_grace_period"`
}

func readComposition(t testing.TB) composition {
	t.Helper()
	var c composition
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// ours are the services that run our image.
func (c composition) ours() []string {
	return slices.Sorted(maps.Keys(maps.Collect(func(yield func(string, service) bool) {
		for name, s := range c.Services {
			if s.Image == "innkeeper" && !yield(name, s) {
				return
			}
		}
	})))
}

func read(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// replace makes one substitution, and fails if there is nothing to substitute: the
// files have changed and this test has not.
func replace(t testing.TB, text, old, by string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in:\n%s", old, text)
	}
	return strings.ReplaceAll(text, old, by)
}

var buildInDockerfile = regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build [^\\]*) \\\n\s+([^\n]*)$`)

// buildCommand returns what the Dockerfile builds the binary with.
func buildCommand(t testing.TB) string {
	t.Helper()
	found := buildInDockerfile.FindStringSubmatch(read(t, "Dockerfile"))
	if found == nil {
		t.Fatal("the Dockerfile builds nothing")
	}
	return found[1] + " " + found[2]
}

// binary is built once, as the Dockerfile says.
var binary struct {
	once sync.Once
	path string
}

func builtBinary(t testing.TB) string {
	t.Helper()
	binary.once.Do(func() {
		dir, err := os.MkdirTemp("", "innkeeper-deploy-")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "innkeeper")
		build := exec.Command("sh", "-c", replace(t, buildCommand(t), "/out/innkeeper", path))
		build.Dir = ".." // /src
		build.Env = append(os.Environ(), "VERSION=v1.2.3-deploy")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", build.Args, err, out)
		}
		binary.path = path
	})
	if binary.path == "" {
		t.Fatal("the binary was not built")
	}
	return binary.path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binary.path != "" {
		_ = os.RemoveAll(filepath.Dir(binary.path))
	}
	os.Exit(code)
}

// TestDockerfileBuildsLikeMake compares the two places where the build is written.
func TestDockerfileBuildsLikeMake(t *testing.T) {
	normal := func(command string) string {
		return strings.NewReplacer(`"`, "'", "${VERSION}", "V", "$(VERSION)", "V",
			"/out/innkeeper", "OUT", "bin/innkeeper", "OUT").Replace(command)
	}
	_, after, _ := strings.Cut(read(t, "../Makefile"), "\nbuild:")
	_, after, _ = strings.Cut(after, "\n\t")
	make, _, _ := strings.Cut(after, "\n")
	if got, want := normal(buildCommand(t)), normal(make); got != want {
		t.Errorf("the Dockerfile runs\n%s\nand the Makefile\n%s", got, want)
	}
	out, err := exec.Command(builtBinary(t), "version").Output()
	if err != nil || !strings.Contains(string(out), "v1.2.3-deploy") {
		t.Errorf("version says %q %v", out, err)
	}
}

// imageEnvironment is ENV of the Dockerfile.
func imageEnvironment(t testing.TB) map[string]string {
	t.Helper()
	env := make(map[string]string)
	_, after, _ := strings.Cut(read(t, "Dockerfile"), "\nENV ")
	for line := range strings.Lines(after) {
		for pair := range strings.FieldsSeq(strings.TrimSuffix(strings.TrimSpace(line), `\`)) {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		if !strings.HasSuffix(strings.TrimSpace(line), `\`) {
			return env
		}
	}
	return env
}

// TestSettingsAreKnown gives every setting that a file here names to the binary,
// which refuses those that it does not know.
func TestSettingsAreKnown(t *testing.T) {
	secrets := makeSecrets(t)
	inContainer := func(value string) string { return strings.ReplaceAll(value, "/run/secrets", secrets) }
	unit := readUnit(t)
	tests := map[string]map[string]string{
		"Dockerfile":        imageEnvironment(t),
		"innkeeper.service": unit.environment(secrets),
	}
	c := readComposition(t)
	for _, name := range c.ours() {
		tests["compose.yaml "+name] = c.Services[name].Environment
	}
	for name, settings := range tests {
		t.Run(name, func(t *testing.T) {
			if len(settings) == 0 {
				t.Fatal("found no settings")
			}
			var env []string
			for setting, value := range settings {
				if !strings.HasPrefix(setting, "INNKEEPER_") && setting != "GOMEMLIMIT" {
					t.Errorf("%s is no setting of ours", setting)
				}
				env = append(env, setting+"="+inContainer(value))
			}
			known := exec.Command(builtBinary(t), "version")
			known.Env = env
			if out, err := known.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			// And the test notices: the same with a slip.
			unknown := exec.Command(builtBinary(t), "version")
			unknown.Env = slices.Concat(env, []string{"INNKEEPER_ISUER=http://localhost"})
			if out, err := unknown.CombinedOutput(); err == nil || !strings.Contains(string(out), "INNKEEPER_ISUER") {
				t.Errorf("an unknown setting is taken: %v\n%s", err, out)
			}
		})
	}
}

// unit is innkeeper.service: for each name its values.
type unit map[string][]string

func readUnit(t testing.TB) unit {
	t.Helper()
	u := make(unit)
	for line := range strings.Lines(read(t, "innkeeper.service")) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") {
			u[name] = append(u[name], value)
		}
	}
	return u
}

// environment returns the variables of the service, with the directory of its
// credentials.
func (u unit) environment(credentials string) map[string]string {
	env := make(map[string]string)
	for _, assignment := range u["Environment"] {
		name, value, _ := strings.Cut(assignment, "=")
		env[name] = strings.NewReplacer("%d", credentials, "%S", "/var/lib").Replace(value)
	}
	return env
}

// TestUnit lets systemd read the unit, where there is a systemd.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	file := filepath.Join(t.TempDir(), "innkeeper.service")
	text := replace(t, read(t, "innkeeper.service"), "/usr/local/bin/innkeeper", builtBinary(t))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput()
	// It reads the units of this machine as well, whose faults are not ours.
	if err != nil || bytes.Contains(out, []byte("innkeeper")) {
		t.Errorf("verify: %v\n%s", err, out)
	}
	out, err = exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", file).CombinedOutput()
	if err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}

// TestTimesFit compares times that stand in different files: who stops a server
// has to wait longer than it takes, and nginx forgets a failure sooner than the
// next node goes.
func TestTimesFit(t *testing.T) {
	const farewell, finish = 5 * time.Second, 15 * time.Second // and shutdownTimeout, in cmd/innkeeper
	c := readComposition(t)
	number := func(file, pattern string) time.Duration {
		found := regexp.MustCompile(pattern).FindStringSubmatch(read(t, file))
		if found == nil {
			t.Fatalf("%s: nothing like %s", file, pattern)
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(n) * time.Second
	}
	forget := number("nginx.conf", `fail_timeout=(\d+)s`) + time.Second // nginx counts in whole seconds
	for _, name := range []string{"node1", "node2"} {
		node := c.Services[name]
		drain, err := time.ParseDuration(node.Environment["INNKEEPER_DRAIN_DELAY"])
		if err != nil {
			t.Fatal(err)
		}
		if drain <= forget {
			t.Errorf("%s drains for %v, and nginx leaves a node out for %v", name, drain, forget)
		}
		if node.StopGrace <= drain+farewell+finish {
			t.Errorf("%s has %v to stop, and takes up to %v", name, node.StopGrace, drain+farewell+finish)
		}
		if stop := number("innkeeper.service", `TimeoutStopSec=(\d+)s`); stop <= drain+farewell+finish {
			t.Errorf("systemd gives %v to stop", stop)
		}
	}
	if kept := number("nginx.conf", `keepalive_timeout (\d+)s`); kept >= farewell {
		t.Errorf("nginx keeps a connection for %v, and a node that stops does for %v", kept, farewell)
	}
	if answer, wait := 10*time.Second, number("nginx.conf", `\n    proxy_read_timeout (\d+)s`); wait <= answer {
		t.Errorf("nginx waits %v, and a node answers within %v", wait, answer)
	}
	if poll, wait := 30*time.Second, number("nginx.conf", `revocations \{\n\s+proxy_read_timeout (\d+)s`); wait <= poll {
		t.Errorf("nginx waits %v for the feed, which is held for %v", wait, poll)
	}
}

// TestCompositionIsClosed looks for what must not be published or run.
func TestCompositionIsClosed(t *testing.T) {
	c := readComposition(t)
	for name, s := range c.Services {
		for _, port := range s.Ports {
			if name != "nginx" || !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s publishes %s", name, port)
			}
		}
		if s.Build == nil && !regexp.MustCompile(`:\d+$`).MatchString(s.Image) {
			t.Errorf("%s: image %q has no major version", name, s.Image)
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].File != "./secrets/"+secret {
				t.Errorf("%s: secret %s is %q", name, secret, c.Secrets[secret].File)
			}
		}
		for variable, value := range s.Environment {
			if regexp.MustCompile(`://[^/]*:[^/]*@`).MatchString(value) || strings.HasSuffix(variable, "PASSWORD") {
				t.Errorf("%s: there is a password in %s", name, variable)
			}
		}
	}
	if len(c.ours()) != 3 {
		t.Errorf("our services are %v", c.ours())
	}
}

// makeSecrets runs make-secrets, and returns its directory.
func makeSecrets(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secrets")
	path := os.Getenv("PATH")
	if os.Getuid() != 0 {
		// The owners are users of containers. Only root can give files away.
		fake := t.TempDir()
		if err := os.WriteFile(filepath.Join(fake, "chown"), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		path = fake + ":" + path
	}
	for range 2 { // the second time it must leave alone what exists
		script := exec.Command("./make-secrets", dir)
		script.Env = []string{"PATH=" + path}
		before := contents(t, dir)
		if out, err := script.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		after := contents(t, dir)
		if len(before) > 0 && !maps.Equal(before, after) {
			t.Fatal("make-secrets has replaced what existed")
		}
		if got := slices.Sorted(maps.Keys(after)); !slices.Equal(got, slices.Sorted(maps.Keys(readComposition(t).Secrets))) {
			t.Fatalf("make-secrets has made %v", got)
		}
	}
	return dir
}

func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", entry.Name(), info.Mode())
		}
		files[entry.Name()] = fmt.Sprint(read(t, filepath.Join(dir, entry.Name())))
	}
	return files
}
