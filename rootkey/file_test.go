package rootkey_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

func readFile(t testing.TB, text string) *rootkey.File {
	t.Helper()
	file, err := rootkey.ReadFile(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// standings prints a file like "581a:minting 9c3e:next", as it reads once written.
func standings(t testing.TB, file *rootkey.File) string {
	t.Helper()
	again := readFile(t, string(file.Text()))
	ring, err := rootkey.ReadRing(bytes.NewReader(file.Text()))
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for i, e := range again.Entries() {
		if !ring.All()[i].Equal(e.Key) {
			t.Errorf("ReadRing and ReadFile differ at key %d", i)
		}
		word := e.Key.ID().String() + ":" + string(e.Standing)
		if !e.MintedUntil.IsZero() {
			word += "@" + e.MintedUntil.Format(time.RFC3339)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// TestFileThroughARotation follows a file through the life of two keys.
func TestFileThroughARotation(t *testing.T) {
	old := parse(t, counting)
	fresh := generateBeside(old)
	third := generateBeside(old, fresh)
	a, b, c := old.ID().String(), fresh.ID().String(), third.ID().String()
	at := time.Date(2026, 6, 1, 12, 0, 0, 999, time.UTC)
	file := readFile(t, "# my own words\n"+counting+"\n")
	for _, step := range []struct {
		do   func() error
		err  error
		want string
	}{
		{file.Promote, rootkey.ErrStanding, a + ":minting"},
		{func() error { return file.Remove(old.ID()) }, rootkey.ErrStanding, a + ":minting"},
		{func() error { return file.Remove(fresh.ID()) }, rootkey.ErrUnknown, a + ":minting"},
		{func() error { return file.Add(old) }, rootkey.ErrDuplicate, a + ":minting"},
		{func() error { return file.Add(fresh) }, nil, a + ":minting " + b + ":next"},
		{func() error { return file.Add(third) }, rootkey.ErrStanding, a + ":minting " + b + ":next"},
		{file.Promote, nil, b + ":minting " + a + ":replaced"},
		{func() error { return file.Add(third) }, rootkey.ErrStanding, b + ":minting " + a + ":replaced"},
		{func() error { file.Retire(at); return nil }, nil, b + ":minting " + a + ":retired@2026-06-01T12:00:00Z"},
		{func() error { file.Retire(at.Add(time.Hour)); return nil }, nil, b + ":minting " + a + ":retired@2026-06-01T12:00:00Z"},
		{func() error { return file.Add(third) }, nil, b + ":minting " + a + ":retired@2026-06-01T12:00:00Z " + c + ":next"},
		{file.Promote, nil, c + ":minting " + b + ":replaced " + a + ":retired@2026-06-01T12:00:00Z"},
		{func() error { return file.Remove(old.ID()) }, nil, c + ":minting " + b + ":replaced"},
		{func() error { return file.Remove(fresh.ID()) }, nil, c + ":minting"},
	} {
		if err := step.do(); !errors.Is(err, step.err) {
			t.Fatalf("got error %v, want %v", err, step.err)
		}
		if got := standings(t, file); got != step.want {
			t.Fatalf("the file has %s\nwant %s\n%s", got, step.want, file.Text())
		}
		if !strings.HasPrefix(string(file.Text()), "# my own words\n") || !strings.HasSuffix(string(file.Text()), "\n") {
			t.Errorf("the file reads\n%s", file.Text())
		}
	}
	if strings.Count(string(file.Text()), "\n") != 2 {
		t.Errorf("something was left:\n%s", file.Text())
	}
}

// TestFileKeepsWhatItDoesNotKnow reads files as people write them.
func TestFileKeepsWhatItDoesNotKnow(t *testing.T) {
	other := generateBeside(parse(t, counting))
	id := other.ID().String()
	for text, want := range map[string]string{
		counting:                            "581a:minting",
		"\n\n" + counting + "\r\n# the end": "581a:minting",
		counting + "\n" + other.Reveal():    "581a:minting " + id + ":unmarked",
		"# " + id + " is next\n" + counting + "\n  " + other.Reveal() + " \n":             "581a:minting " + id + ":next",
		"# " + id + " minted until yesterday\n" + counting + "\n" + other.Reveal() + "\n": "581a:minting " + id + ":unmarked",
		"# 581a is next\n" + counting + "\n":                                              "581a:minting", // the first one mints, whatever is said
	} {
		file := readFile(t, text)
		if string(file.Text()) != text {
			t.Errorf("%q is written as %q", text, file.Text())
		}
		if got := standings(t, file); got != want {
			t.Errorf("%q has %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]error{
		"": rootkey.ErrEmpty, counting + "\n" + counting: rootkey.ErrDuplicate, counting + "\nsecretsecret": rootkey.ErrMalformed,
	} {
		if _, err := rootkey.ReadFile(strings.NewReader(text)); !errors.Is(err, want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q gave %v, want %v", text, err, want)
		}
	}
}

func TestFilesAreNotPrinted(t *testing.T) {
	file := readFile(t, counting)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, verb+verb+"\n", file, *file)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "file", file, "value", *file)
	if err := json.NewEncoder(&out).Encode(map[string]any{"file": file, "value": *file}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "AAECAwQF") || !strings.Contains(out.String(), "[redacted]") {
		t.Errorf("printed: %s", out.String())
	}
}

// FuzzReadFile: what is read is written as it was, and whatever is done to a file,
// [rootkey.ReadRing] agrees with it about the keys.
func FuzzReadFile(f *testing.F) {
	f.Add("# 581a is next: it verifies everywhere before it mints\n" + counting + "\n\n# x")
	f.Add(counting)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := rootkey.ReadFile(strings.NewReader(text))
		ring, ringErr := rootkey.ReadRing(strings.NewReader(text))
		if (err == nil) != (ringErr == nil) {
			t.Fatalf("ReadFile says %v, ReadRing %v", err, ringErr)
		}
		if err != nil {
			return
		}
		if string(file.Text()) != text {
			t.Fatalf("%q is written as %q", text, file.Text())
		}
		if len(file.Entries()) != len(ring.All()) {
			t.Fatal("ReadFile and ReadRing see other keys")
		}
		if err := file.Add(rootkey.Generate()); err != nil {
			return
		}
		standings(t, file)
		if err := file.Promote(); err != nil {
			t.Fatal(err)
		}
		file.Retire(time.Unix(0, 0))
		standings(t, file)
	})
}
