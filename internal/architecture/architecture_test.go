// Package architecture holds the rules that every package of this module keeps:
// who may import whom, and how large things may grow. It has no code but tests.
package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/innkeeper-auth/innkeeper"

// domain is the package at the root of the module.
const domain = "innkeeper"

// mayImport is the table of directions: for each package, what its code may
// import of this module. Arrows only go down. Tests may import what they like.
var mayImport = map[string][]string{
	// Leaves: they know nothing of us.
	"rootkey":             {},
	"password":            {},
	"internal/ballast":    {},
	"internal/bearer":     {},
	"internal/strictjson": {},
	"internal/load":       {},
	"internal/revoked":    {},
	"internal/bubble":     {}, // for tests alone
	"internal/testengine": {}, // real servers: for tests and measurements, never for the binary

	// Tokens and keys. Whoever verifies does not link the domain or a store.
	"accesstoken": {"internal/strictjson"},
	"keyring":     {"accesstoken", "internal/strictjson", "rootkey"},
	"verify":      {"accesstoken", "internal/bearer", "internal/revoked", "internal/strictjson"},

	// Whoever signs in does not link them either.
	"client": {"internal/strictjson"},

	domain: {"accesstoken", "internal/revoked", "keyring", "password", "rootkey"},

	// Stores keep what the domain and the key ring give them.
	"store/memory":    {domain, "accesstoken", "keyring", "rootkey"},
	"store/sqlite":    {domain, "accesstoken", "keyring", "rootkey"},
	"store/postgres":  {domain, "accesstoken", "keyring", "rootkey"},
	"store/redis":     {domain},
	"store/storetest": {domain, "accesstoken", "keyring", "rootkey"},

	// What is between stores knows none in particular.
	"internal/transfer": {domain, "keyring", "rootkey"},
	"internal/userfile": {domain, "internal/strictjson", "password"},

	// What carries events away does as the domain says, and asks nobody.
	"webhook": {domain},

	// The edge asks the domain and never a store. What it needs of the packages
	// below are errors and constants.
	"httpapi":    {domain, "internal/bearer", "internal/strictjson", "keyring", "password", "web/client"},
	"web/client": {}, // files that browsers load
	"web/demo":   {},

	// Whoever wires may import what there is to wire.
	"innkeepertest": {
		domain, "accesstoken", "client", "httpapi", "keyring", "password", "rootkey", "store/memory", "verify",
	},
	"internal/hashworker": {"password"},
	"internal/demo":       {domain, "httpapi", "rootkey", "verify", "web/demo"},
	"internal/bench": {
		domain, "accesstoken", "httpapi", "internal/ballast", "internal/load", "internal/testengine",
		"keyring", "password", "rootkey",
		"store/memory", "store/postgres", "store/redis", "store/sqlite", "verify",
	},
	"internal/openapi": {}, // it reads the description like a stranger
	"internal/fuzzapi": {domain, "httpapi", "internal/openapi", "password", "rootkey", "store/memory", "store/sqlite"},
	"internal/tempest": {"client"},                                            // and the server from the outside
	"internal/soak":    {"internal/tempest", "internal/testengine", "verify"}, // it sees servers from the outside, like any client and any API
	"internal/siege":   {"internal/load", "password"},                         // likewise, and hashes passwords of people to import
	"cmd/innkeeper": {
		domain, "accesstoken", "client", "httpapi", "internal/ballast", "internal/demo", "internal/hashworker", "internal/load", "internal/transfer", "internal/userfile",
		"keyring", "password", "rootkey",
		"store/memory", "store/postgres", "store/redis", "store/sqlite", "verify", "webhook",
	},

	"web/e2e/server": {domain, "httpapi", "rootkey", "store/sqlite", "verify"},

	"internal/architecture": {},

	// Examples show what anybody can write: the public packages.
	"examples/*": {
		domain, "accesstoken", "client", "httpapi", "innkeepertest", "keyring", "password", "rootkey",
		"store/memory", "store/postgres", "store/redis", "store/sqlite", "verify",
	},
}

// pure are the packages that decide: the domain and all below it. They do no
// I/O, print nothing and are told the time.
var pure = []string{domain, "accesstoken", "internal/strictjson", "keyring", "password", "rootkey"}

// impure is what a pure package must not import.
var impure = []string{"database/sql", "log", "net", "net/http", "os"}

// vague names say nothing about what is in a package, so anything ends up there.
var vague = []string{
	"common", "helper", "helpers", "manager", "managers", "model", "models", "type", "types", "util", "utils",
}

const (
	maxFunctionLines    = 60 // between the braces, as the linter funlen counts
	maxInterfaceMethods = 6
)

func TestArchitecture(t *testing.T) {
	for _, p := range load(t, os.DirFS("../..")) {
		for _, problem := range check(p) {
			t.Error(problem)
		}
	}
}

// pkg is one directory of Go code, without its tests.
type pkg struct {
	path  string // below the module; the root is "innkeeper"
	fset  *token.FileSet
	files []*ast.File
}

func check(p pkg) []string {
	problems := checkName(p)
	allowed, known := directions(p.path)
	if !known {
		problems = append(problems, fmt.Sprintf(
			"package %s is not in the table: add it to mayImport in internal/architecture, with what it may import", p.path))
	}
	for _, file := range p.files {
		if known {
			problems = append(problems, p.checkDirections(file, allowed)...)
		}
		if slices.Contains(pure, p.path) {
			problems = append(problems, p.checkPure(file)...)
		}
		problems = append(problems, p.checkSizes(file)...)
	}
	return problems
}

// directions returns what a package may import, or false if nobody has said.
func directions(importer string) ([]string, bool) {
	allowed, ok := mayImport[importer]
	if !ok {
		allowed, ok = mayImport[path.Dir(importer)+"/*"]
	}
	return allowed, ok
}

func checkName(p pkg) []string {
	names := strings.Split(p.path, "/")
	for _, file := range p.files {
		names = append(names, file.Name.Name)
	}
	for _, name := range names {
		if slices.Contains(vague, name) {
			return []string{fmt.Sprintf("package %s: %q says nothing; name it after the noun that it holds", p.path, name)}
		}
	}
	return nil
}

func (p pkg) checkDirections(file *ast.File, allowed []string) []string {
	var problems []string
	for _, spec := range file.Imports {
		imported := importPath(spec)
		if imported != module && !strings.HasPrefix(imported, module+"/") {
			continue
		}
		below := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
		if below == "" {
			below = domain
		}
		if !slices.Contains(allowed, below) {
			problems = append(problems, p.at(spec, "%s must not import %s", p.path, below))
		}
	}
	return problems
}

func (p pkg) checkPure(file *ast.File) []string {
	var problems []string
	clock := ""
	for _, spec := range file.Imports {
		imported := importPath(spec)
		if slices.Contains(impure, imported) {
			problems = append(problems, p.at(spec, "%s decides and must not import %s", p.path, imported))
		}
		if imported == "time" {
			clock = "time"
			if spec.Name != nil {
				clock = spec.Name.Name
			}
		}
	}
	if clock == "." {
		problems = append(problems, p.at(file, "import time by name, so that its use can be checked"))
	}
	ast.Inspect(file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := selector.X.(*ast.Ident); ok && clock != "" && of.Name == clock &&
			slices.Contains([]string{"Now", "Since", "Until"}, selector.Sel.Name) {
			problems = append(problems, p.at(n, "%s must be told the time, not call time.%s", p.path, selector.Sel.Name))
		}
		return true
	})
	return problems
}

func (p pkg) checkSizes(file *ast.File) []string {
	var problems []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			lines := p.fset.Position(n.End()).Line - p.fset.Position(n.Pos()).Line - 1
			if lines > maxFunctionLines {
				problems = append(problems, p.at(n, "%s has %d lines; at most %d", n.Name.Name, lines, maxFunctionLines))
			}
		case *ast.TypeSpec:
			iface, ok := n.Type.(*ast.InterfaceType)
			if ok && iface.Methods.NumFields() > maxInterfaceMethods {
				problems = append(problems, p.at(n, "%s has %d methods; at most %d: split it by role",
					n.Name.Name, iface.Methods.NumFields(), maxInterfaceMethods))
			}
		}
		return true
	})
	return problems
}

// at prefixes a problem with where it is.
func (p pkg) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s: %s", p.fset.Position(n.Pos()), fmt.Sprintf(format, args...))
}

func importPath(spec *ast.ImportSpec) string {
	imported, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return imported
}

// load parses every package of the module below root, tests left out. It looks
// at the files and not at what would be built here, so that no build tag hides
// anything.
func load(t *testing.T, root fs.FS) []pkg {
	t.Helper()
	packages := make(map[string]*pkg)
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && skipDir(root, name):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if dir == "." {
			dir = domain
		}
		p := packages[dir]
		if p == nil {
			p = &pkg{path: dir, fset: token.NewFileSet()}
			packages[dir] = p
		}
		file, err := parser.ParseFile(p.fset, name, source, parser.SkipObjectResolution)
		p.files = append(p.files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if packages[domain] == nil {
		t.Fatal("found no code to check")
	}
	var all []pkg
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		all = append(all, *packages[dir])
	}
	return all
}

// skipDir reports what the go command skips too: hidden directories, test data
// and other modules; and the packages of Node.
func skipDir(root fs.FS, dir string) bool {
	base := path.Base(dir)
	switch {
	case dir == ".":
		return false
	case strings.HasPrefix(base, "."), strings.HasPrefix(base, "_"), base == "testdata", base == "node_modules":
		return true
	}
	_, err := fs.Stat(root, path.Join(dir, "go.mod"))
	return err == nil
}

// TestRulesBite makes sure that each rule finds what it forbids.
func TestRulesBite(t *testing.T) {
	long := "package a\nfunc f() {\n" + strings.Repeat("_ = 0\n", maxFunctionLines) + "%s}"
	cases := []struct {
		name, path, source string
		want               string // in the only problem; empty: there is none
	}{
		{"unknown package", "newcomer", "package newcomer", "add it to mayImport"},
		{"example", "examples/shop", `package main; import "` + module + `/verify"`, ""},
		{"example of internals", "examples/shop", `package main; import "` + module + `/internal/demo"`, "must not import internal/demo"},
		{"downwards", domain, `package innkeeper; import "` + module + `/keyring"`, ""},
		{"upwards", "keyring", `package keyring; import "` + module + `"`, "must not import innkeeper"},
		{"edge to store", "httpapi", `package httpapi; import "` + module + `/store/sqlite"`, "must not import store/sqlite"},
		{"verify to domain", "verify", `package verify; import "` + module + `"`, "must not import innkeeper"},
		{"client to domain", "client", `package client; import "` + module + `"`, "must not import innkeeper"},
		{"client to store", "client", `package client; import "` + module + `/store/memory"`, "must not import store/memory"},
		{"another module with our prefix", "verify", `package verify; import "` + module + `-extras"`, ""},
		{"domain with HTTP", domain, `package innkeeper; import "net/http"`, "must not import net/http"},
		{"edge with HTTP", "httpapi", `package httpapi; import "net/http"`, ""},
		{"domain reads the clock", domain, `package innkeeper; import "time"; var _ = time.Now()`, "told the time"},
		{"under another name", "rootkey", `package rootkey; import t "time"; var _ = t.Since`, "told the time"},
		{"domain counts the time", domain, `package innkeeper; import "time"; var _ = time.Second`, ""},
		{"edge reads the clock", "httpapi", `package httpapi; import "time"; var _ = time.Now()`, ""},
		{"vague name", "password", `package util`, "says nothing"},
		{"long function", "verify", fmt.Sprintf(long, "_ = 0\n"), "has 61 lines"},
		{"function as long as allowed", "verify", fmt.Sprintf(long, ""), ""},
		{"large interface", "verify", "package verify; type I interface { A(); B(); C(); D(); E(); F(); G() }", "has 7 methods"},
		{"interface as large as allowed", "verify", "package verify; type I interface { A(); B(); C(); D(); E(); F() }", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := pkg{path: c.path, fset: token.NewFileSet()}
			file, err := parser.ParseFile(p.fset, "a.go", c.source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			p.files = []*ast.File{file}
			problems := check(p)
			switch {
			case c.want == "" && len(problems) > 0:
				t.Errorf("got %q, want no problem", problems)
			case c.want != "" && (len(problems) != 1 || !strings.Contains(problems[0], c.want)):
				t.Errorf("got %q, want one problem that says %q", problems, c.want)
			}
		})
	}
}
