// Package mobile_test holds the phones' table of verdicts against the server, the document against the sources that it
// shows, and their judgment against the table. Neither Kotlin nor Swift is compiled here.
package mobile_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/examples/internal/trial"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

const document = "../../docs/clients/mobile.md"

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type verdict struct {
	Status  int
	Code    string
	Moved   bool
	Before  bool
	Verdict string
}

type table struct {
	Verdicts map[string]string
	Cases    []verdict
}

func verdicts(t *testing.T) table {
	t.Helper()
	var whole table
	if err := json.Unmarshal([]byte(read(t, "verdicts.json")), &whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.Cases) < 40 || len(whole.Verdicts) != 6 {
		t.Fatalf("%d cases, %d verdicts", len(whole.Cases), len(whole.Verdicts))
	}
	return whole
}

// of returns what to make of an answer whose token is still in the store, by whether the generation was called
// superseded before; empty if nobody has thought of it.
func (w table) of(status int, code string, before bool) string {
	for _, row := range w.Cases {
		if row.Status == status && row.Code == code && row.Before == before && !row.Moved {
			return row.Verdict
		}
	}
	return ""
}

func TestDocumentShowsTheSources(t *testing.T) {
	text := read(t, document)
	for language, names := range map[string][]string{
		"kotlin": {"InnkeeperSession.kt", "AndroidPlatform.kt"},
		"swift":  {"InnkeeperSession.swift", "ApplePlatform.swift"},
	} {
		shown := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(text, -1)
		for i, name := range names {
			if i >= len(shown) || shown[i][1] != read(t, name) {
				t.Errorf("the document shows something else than %s", name)
			}
		}
	}
}

// TestJudgmentStandsAlone keeps the platforms out of the part that judges.
func TestJudgmentStandsAlone(t *testing.T) {
	for name, allowed := range map[string]string{
		"InnkeeperSession.kt":    `^(java\.(io|util)|kotlinx?|org\.json)\.`,
		"InnkeeperSession.swift": `^Foundation$`,
	} {
		imports := regexp.MustCompile(`(?m)^import (\S+)`).FindAllStringSubmatch(read(t, name), -1)
		if len(imports) == 0 {
			t.Errorf("%s imports nothing", name)
		}
		for _, match := range imports {
			if !regexp.MustCompile(allowed).MatchString(match[1]) {
				t.Errorf("%s imports %s", name, match[1])
			}
		}
	}
}

// TestSignOutCodes compares the only codes that may sign somebody out in four places: the table, the document on
// refreshes, and both sources.
func TestSignOutCodes(t *testing.T) {
	var want []string
	for _, row := range verdicts(t).Cases {
		if row.Verdict == "sign_in" && !slices.Contains(want, row.Code) {
			want = append(want, row.Code)
		}
	}
	slices.Sort(want)
	for name, list := range map[string]string{
		"../../docs/refresh.md":  `(?m)^\| 401 (.*?) \|`,
		"InnkeeperSession.kt":    `(?s)val dead = setOf\((.*?)\)`,
		"InnkeeperSession.swift": `(?s)let dead: Set<String> = \[(.*?)\]`,
	} {
		match := regexp.MustCompile(list).FindStringSubmatch(read(t, name))
		if match == nil {
			t.Errorf("%s has no list", name)
			continue
		}
		got := regexp.MustCompile(`[a-z]+(_[a-z]+)+`).FindAllString(match[1], -1)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, the table: %v", name, got, want)
		}
	}
}

// TestTableKnowsEveryCode reads the codes out of the API's source: one that is new there has to be judged here.
func TestTableKnowsEveryCode(t *testing.T) {
	whole := verdicts(t)
	codes := codesOf(t, "../../httpapi")
	for _, code := range []string{"session_ended", "refresh_token_reused", "unavailable", "key_in_use", "cross_site_request"} {
		if !slices.Contains(codes, code) {
			t.Errorf("%s is not found in the source", code)
		}
	}
	for _, code := range codes {
		if !slices.ContainsFunc(whole.Cases, func(row verdict) bool { return row.Code == code }) {
			t.Errorf("nobody has said what a phone makes of %s", code)
		}
	}
	var api struct {
		Paths map[string]map[string]struct{ Responses map[string]any }
	}
	if err := json.Unmarshal([]byte(read(t, "../../docs/openapi.json")), &api); err != nil {
		t.Fatal(err)
	}
	documented := api.Paths["/auth/refresh"]["post"].Responses
	if len(documented) < 6 {
		t.Errorf("%d answers are documented", len(documented))
	}
	for text := range documented {
		status, err := strconv.Atoi(text)
		if err != nil || !slices.ContainsFunc(whole.Cases, func(row verdict) bool { return row.Status == status }) {
			t.Errorf("nobody has said what a phone makes of %s", text)
		}
	}
}

// TestTableIsSound holds the table against what it must never say.
func TestTableIsSound(t *testing.T) {
	whole := verdicts(t)
	seen := map[verdict]bool{}
	for _, row := range whole.Cases {
		question := row
		question.Verdict = ""
		over := row.Verdict == "sign_in" || row.Verdict == "log_out"
		switch {
		case whole.Verdicts[row.Verdict] == "":
			t.Errorf("%+v: no such verdict", row)
		case seen[question]:
			t.Errorf("%+v: twice", row)
		case over && row.Moved:
			t.Errorf("%+v: the store holds something else, which was not refused", row)
		case row.Verdict == "log_out" && !row.Before:
			t.Errorf("%+v: a late duplicate would sign out an honest person", row)
		case over && row.Status != http.StatusUnauthorized && row.Code != "refresh_superseded":
			t.Errorf("%+v: that is no verdict on a session", row)
		}
		seen[question] = true
	}
}

// codesOf returns the codes that a package makes problems of: the third column of its table of problems, and what it
// calls newProblem with, be that written there, a constant, or a variable of the same function.
func codesOf(t *testing.T, directory string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(directory, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	constants := map[string]string{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == 1 && len(spec.Values) == 1 {
				if text := literal(spec.Values[0]); text != "" {
					constants[spec.Names[0].Name] = text
				}
			}
			return true
		})
	}
	var codes []string
	for _, file := range files {
		for _, declaration := range file.Decls {
			for _, expression := range codesIn(declaration) {
				code := literal(expression)
				if name, ok := expression.(*ast.Ident); ok {
					code = constants[name.Name]
				}
				if code == "" {
					t.Errorf("a code in %s is neither a text nor a constant", directory)
				}
				codes = append(codes, code)
			}
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// codesIn returns the expressions that are codes in a declaration: texts and names of constants.
func codesIn(declaration ast.Decl) []ast.Expr {
	var found []ast.Expr
	assigned := map[string][]ast.Expr{} // to the variables of this function
	ast.Inspect(declaration, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			if n.Names[0].Name == "problems" && len(n.Values) == 1 {
				for _, row := range n.Values[0].(*ast.CompositeLit).Elts {
					found = append(found, row.(*ast.CompositeLit).Elts[2])
				}
			}
		case *ast.AssignStmt:
			if name, ok := n.Lhs[0].(*ast.Ident); ok && literal(n.Rhs[0]) != "" {
				assigned[name.Name] = append(assigned[name.Name], n.Rhs[0])
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "newProblem" {
				found = append(found, n.Args[1])
			}
		}
		return true
	})
	var codes []ast.Expr
	for _, code := range found {
		switch name := code.(type) {
		case *ast.SelectorExpr: // row.code: of the table, which is read whole
		case *ast.Ident:
			if values := assigned[name.Name]; len(values) > 0 {
				codes = append(codes, values...)
				continue
			}
			codes = append(codes, code)
		default:
			codes = append(codes, code)
		}
	}
	return codes
}

func literal(expression ast.Expr) string {
	if basic, ok := expression.(*ast.BasicLit); ok && basic.Kind == token.STRING {
		if text, err := strconv.Unquote(basic.Value); err == nil {
			return text
		}
	}
	return ""
}

// TestTableAgainstAServer provokes each answer that a refresh can get, and looks it up.
func TestTableAgainstAServer(t *testing.T) {
	whole := verdicts(t)
	inn := innkeepertest.New(t, nil)
	inn.AddUser("ada")
	refresh := func(s innkeepertest.Session, key string) trial.Answer {
		body := fmt.Sprintf(`{"refresh_token":%q}`, s.RefreshToken)
		r, err := http.NewRequestWithContext(t.Context(), "POST", inn.URL+"/auth/refresh", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
		return trial.Send(t, r)
	}
	// The key that innkeepertest has refreshed a session with.
	key := func(s innkeepertest.Session) string {
		return fmt.Sprintf(`"%s-%010d";generation=%d`, s.ID, s.Generation, s.Generation)
	}
	want := func(answer trial.Answer, status int, before bool, verdict string) {
		t.Helper()
		var problem struct{ Code string }
		if err := json.Unmarshal([]byte(answer.Body), &problem); err != nil || answer.Status != status {
			t.Fatalf("%v: %+v", err, answer)
		}
		if got := whole.of(status, problem.Code, before); got != verdict {
			t.Errorf("%d %s: the table says %q, want %s", status, problem.Code, got, verdict)
		}
	}

	first := inn.SignIn("ada")
	want(refresh(first, `"a-key-of-the-wrong-generation";generation=7`), http.StatusConflict, false, "relabel")
	want(refresh(first, `"short"`), http.StatusBadRequest, false, "later")
	second := inn.Refresh(first)
	want(refresh(first, key(first)), http.StatusOK, false, "adopt") // the answer was lost
	third := inn.Refresh(second)
	want(refresh(first, key(first)), http.StatusConflict, false, "again")
	want(refresh(first, key(first)), http.StatusConflict, true, "log_out")
	want(refresh(third, key(third)), http.StatusOK, true, "adopt") // it has harmed nobody
	want(refresh(first, `"the-key-of-somebody-else";generation=1`), http.StatusUnauthorized, false, "sign_in")
	want(refresh(third, key(third)), http.StatusUnauthorized, false, "sign_in") // the session has ended
	want(refresh(innkeepertest.Session{}, key(first)), http.StatusUnauthorized, false, "sign_in")
	want(refresh(innkeepertest.Session{RefreshToken: "ikr_x"}, key(first)), http.StatusUnauthorized, false, "sign_in")
	late := inn.SignIn("ada")
	inn.Clock.Advance(15 * 24 * time.Hour)
	want(refresh(late, key(late)), http.StatusUnauthorized, false, "sign_in")
}
