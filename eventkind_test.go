package innkeeper

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEveryKindOfEventIsKnown compares the constants in the source with the kinds that
// can be asked for, and with those that docs/events.md names.
func TestEveryKindOfEventIsKnown(t *testing.T) {
	declared := declaredKinds(t)
	if len(declared) == 0 {
		t.Fatal("the source declares no kind")
	}
	if known := eventKinds(); !slices.Equal(known, declared) {
		t.Errorf("known are   %q\ndeclared are %q", known, declared)
	}
	text, err := os.ReadFile("docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Kinds\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var named []EventKind
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 2 {
			continue
		}
		for _, word := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			if word[1] != "kind" {
				named = append(named, EventKind(word[1]))
			}
		}
	}
	slices.Sort(declared)
	slices.Sort(named)
	if !slices.Equal(named, declared) {
		t.Errorf("docs/events.md names %q\ndeclared are         %q", named, declared)
	}
}

// declaredKinds are the constants of the type EventKind, in the order in which they stand.
func declaredKinds(t *testing.T) (kinds []EventKind) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for node := range ast.Preorder(file) {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				continue
			}
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "EventKind" {
				continue
			}
			for _, value := range spec.Values {
				text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				kinds = append(kinds, EventKind(text))
			}
		}
	}
	return kinds
}
