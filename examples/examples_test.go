package examples_test

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/innkeeper-auth/innkeeper/examples/internal/trial"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestExamplesArePublic makes sure that an example is what anybody can write: Go would
// let it import our internal packages, because of its path.
func TestExamplesArePublic(t *testing.T) {
	const module = "github.com/innkeeper-auth/innkeeper/"
	files := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "internal" || entry.Name() == "node_modules"):
			return fs.SkipDir
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil || strings.HasPrefix(imported, module) && strings.Contains(imported, "/internal/") {
				t.Errorf("%s imports %s", name, imported)
			}
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Errorf("%d files, %v", files, err)
	}
}

// answered returns the identity headers of a real answer.
func answered(t *testing.T) []string {
	t.Helper()
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada", "mail:read")
	var names []string
	for name := range trial.Call(t, "GET", inn.URL+"/auth/check", inn.SignIn("ada").AccessToken).Header {
		if strings.HasPrefix(name, "X-Auth-") {
			names = append(names, name)
		}
	}
	if len(names) < 7 {
		t.Fatalf("got %v", names)
	}
	return names
}

// TestGatewaysReplaceEveryHeader compares each configuration with what Innkeeper
// answers: a header that is new there has to be new here.
func TestGatewaysReplaceEveryHeader(t *testing.T) {
	nginx := read(t, "nginx/nginx.conf")
	var traefik struct {
		HTTP struct {
			Middlewares map[string]struct {
				ForwardAuth *struct {
					Address     string
					Regex       string   `yaml:"authResponseHeadersRegex"`
					Headers     []string `yaml:"authResponseHeaders"`
					SentHeaders []string `yaml:"authRequestHeaders"`
				} `yaml:"forwardAuth"`
			}
			Routers map[string]struct{ Middlewares []string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "traefik/dynamic.yaml")), &traefik); err != nil {
		t.Fatal(err)
	}
	var patterns []*regexp.Regexp
	for name, middleware := range traefik.HTTP.Middlewares {
		if ask := middleware.ForwardAuth; ask != nil {
			patterns = append(patterns, regexp.MustCompile(ask.Regex))
			if ask.Regex == "" || len(ask.Headers) > 0 || len(ask.SentHeaders) != 1 || !strings.Contains(ask.Address, "/auth/check") {
				t.Errorf("middleware %s: %+v", name, ask)
			}
		}
	}
	for name, router := range traefik.HTTP.Routers {
		for _, middleware := range router.Middlewares {
			if _, ok := traefik.HTTP.Middlewares[middleware]; !ok {
				t.Errorf("router %s: no middleware %s", name, middleware)
			}
		}
	}
	for _, name := range []string{"envoy/ext-authz.yaml", "envoy/jwt-authn.yaml"} {
		var whole map[string]any
		text := read(t, name)
		if err := yaml.Unmarshal([]byte(text), &whole); err != nil || whole["static_resources"] == nil {
			t.Fatalf("%s: %v", name, err)
		}
		removed := regexp.MustCompile(`key_matcher:\s+safe_regex: \{ regex: "([^"]+)" \}`).FindStringSubmatch(text)
		if removed == nil {
			t.Fatalf("%s removes nothing", name)
		}
		patterns = append(patterns, regexp.MustCompile("(?i)^"+removed[1]+"$")) // to Envoy names are lower case
	}
	if len(patterns) != 4 {
		t.Errorf("%d patterns", len(patterns))
	}
	for _, name := range answered(t) {
		variable := "$auth_" + strings.ToLower(strings.TrimPrefix(name, "X-Auth-"))
		upstream := "$upstream_http_" + strings.ToLower(strings.ReplaceAll(name, "-", "_"))
		for _, line := range []string{
			`proxy_set_header ` + name + `\s+\` + variable + `;`, `auth_request_set \` + variable + `\s+\` + upstream + `;`,
		} {
			if !regexp.MustCompile(line).MatchString(nginx) {
				t.Errorf("nginx.conf has no line %s", line)
			}
		}
		for _, pattern := range patterns {
			for _, spelling := range []string{name, strings.ToLower(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", ".")} {
				if !pattern.MatchString(spelling) {
					t.Errorf("%s does not match %s", pattern, spelling)
				}
			}
			if pattern.MatchString("Authorization") || pattern.MatchString("X-Author") || pattern.MatchString("Max-Auth-Age") {
				t.Errorf("%s matches too much", pattern)
			}
		}
	}
}

// blocks returns the code of one language in a document.
func blocks(t *testing.T, document, language string) []string {
	t.Helper()
	var found []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(read(t, document), -1) {
		found = append(found, match[1])
	}
	return found
}

const otherStacks = "../docs/other-stacks.md"

func TestDocumentShowsWhatIsTested(t *testing.T) {
	shown := blocks(t, otherStacks, "js")
	for i, name := range []string{"node/innkeeper.js", "node/revocations.js"} {
		if i >= len(shown) || shown[i] != read(t, name) {
			t.Errorf("%s shows something else than %s", otherStacks, name)
		}
	}
	const ownLogin, name = "../docs/your-own-login.md", "magiclink/main.go"
	if shown := blocks(t, ownLogin, "go"); len(shown) != 1 || !strings.Contains(read(t, name), shown[0]) {
		t.Errorf("%s shows something else than %s", ownLogin, name)
	}
}

// TestPython runs the follower of the document against a server, and has the rest of
// the Python compiled.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	shown := blocks(t, otherStacks, "python")
	if len(shown) != 2 {
		t.Fatalf("%d blocks of Python", len(shown))
	}
	for _, block := range shown {
		check := exec.Command(python, "-c", "import ast, sys; ast.parse(sys.stdin.read())")
		check.Stdin = strings.NewReader(block)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	gone, kept := inn.SignIn("ada"), inn.SignIn("ada")
	file := filepath.Join(t.TempDir(), "follow.py")
	if err := os.WriteFile(file, []byte(shown[0]+driver), 0o600); err != nil {
		t.Fatal(err)
	}
	follow := exec.CommandContext(t.Context(), python, file, inn.URL, gone.AccessToken, kept.AccessToken)
	follow.Stderr = os.Stderr
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, step := range []struct {
		want string
		then func()
	}{
		{"N7U6Dc8FV0PWR_1FVR-0zg", func() {}}, // the vector of docs/revocation.md
		{"ready", func() { trial.Logout(t, inn, gone) }},
		{"gone", func() {
			// A snapshot has it too, and everywhere is an entry of kind user.
			trial.Everywhere(t, inn, kept)
		}},
		{"all gone", func() {}},
	} {
		if !lines.Scan() || lines.Text() != step.want {
			t.Fatalf("got %q, want %q", lines.Text(), step.want)
		}
		step.then()
	}
	if err := follow.Wait(); err != nil {
		t.Error(err)
	}
}

// driver says what the follower knows.
const driver = `

import sys


def main():
    url, gone, kept = sys.argv[1:]

    def claims(token):
        payload = token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

    def until(condition):
        give_up = time.monotonic() + 30
        while not condition():
            if time.monotonic() > give_up:
                sys.exit("still waiting")
            time.sleep(0.002)

    def say(what):
        print(what, flush=True)

    say(user_entry({"iss": "https://auth.example.com", "sub": "TVSfyJ-uWz-1gHCD9vifwg", "epoch": "HJQP6dZJg1U"}))
    revocations = Revocations(url + "/auth/revocations")
    until(revocations.ready.is_set)
    if revocations.is_revoked(claims(gone), "k") or revocations.is_revoked(claims(kept), "k"):
        sys.exit("revoked from the start")
    say("ready")
    until(lambda: revocations.is_revoked(claims(gone), "k"))
    if revocations.is_revoked(claims(kept), "k"):
        sys.exit("the other session is gone too")
    say("gone")
    until(lambda: revocations.is_revoked(claims(kept), "k"))
    say("all gone")


main()
`
