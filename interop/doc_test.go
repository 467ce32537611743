package interop_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentShowsWhatIsTested compares docs/oauth.md with the code that runs here.
func TestDocumentShowsWhatIsTested(t *testing.T) {
	document, err := os.ReadFile("../docs/oauth.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("keyed.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, found := strings.Cut(string(document), "```go\n")
	shown, _, closed := strings.Cut(shown, "```")
	if !found || !closed || !strings.HasSuffix(string(code), shown) {
		t.Error("docs/oauth.md shows something else than keyed.go")
	}
}
