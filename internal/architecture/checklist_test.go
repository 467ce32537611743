package architecture

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// checklists are the documents that say of items of standards that tests hold them.
var checklists = []string{"docs/oauth.md", "docs/threat-model.md"}

var (
	claim = regexp.MustCompile(`(?m)^\| ([A-Z][0-9]+(?:, [A-Z][0-9]+)*) \| (.*)$`)
	named = regexp.MustCompile(`\b[A-Z][0-9]+\b`)
	// A range would hide what is in it.
	claimedRange = regexp.MustCompile(`(?m)^\| [A-Z][0-9]+ (?:to|-|–) [A-Z][0-9]+.*$`)
)

// TestChecklist goes through the items that the documents claim, and finds each in a test
// by name. Whether that test holds it is for people to see: but they find it.
func TestChecklist(t *testing.T) {
	root := filepath.Join("..", "..")
	missing := map[string]string{}
	for _, name := range checklists {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		claims := claim.FindAllStringSubmatch(string(text), -1)
		if len(claims) == 0 {
			t.Errorf("%s has no checklist", name)
		}
		for _, line := range claimedRange.FindAllString(string(text), -1) {
			t.Errorf("%s: name each item of %q", name, line)
		}
		for _, match := range claims {
			if strings.HasPrefix(match[2], "*not so*") {
				continue
			}
			for item := range strings.SplitSeq(match[1], ", ") {
				missing[item] = name
			}
		}
	}
	if err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".txtar") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, item := range named.FindAll(text, -1) {
			delete(missing, string(item))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, item := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("%s claims %s, and no test names it", missing[item], item)
	}
}
