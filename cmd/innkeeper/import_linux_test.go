package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportShowsABar imports at a pseudo-terminal: a bar while it works, and nothing
// of it in the end.
func TestImportShowsABar(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.jsonl")
	lines := bytes.Join(newMixedUsers(t, 5_000).lines, nil)
	if err := os.WriteFile(file, append(lines, "not a user\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t)
	c.start("user", "import", file)
	_ = c.cmd.Wait() // says that a line was rejected
	if code := c.cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	c.waitScreen("hint: correct them and run the same command again")
	screen := c.screen.String()
	if !strings.Contains(screen, "\r\x1b[K[#") || !strings.Contains(screen, "%  ") {
		t.Errorf("no bar: %q", screen)
	}
	if strings.Contains(screen, "5001 lines: ") {
		t.Errorf("plain lines at a terminal: %q", screen)
	}
	last := screen[strings.LastIndex(screen, "\x1b[K")+len("\x1b[K"):]
	if !strings.HasPrefix(last, "imported 5000 users; 0 were there already; 1 lines rejected\r\n") {
		t.Errorf("the last thing on the screen is %q", last)
	}
}
