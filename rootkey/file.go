package rootkey

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Standing says what a key in a root key file is there for.
type Standing string

// The standings. A root key is replaced in steps, so that every server verifies with
// a new key before any server mints with it:
//
//	next ─► minting ─► replaced ─► retired ─► gone from the file
const (
	// Minting is the first key of the file.
	Minting Standing = "minting"
	// Next is a key that verifies, and is to mint.
	Next Standing = "next"
	// Replaced is a key that minted, and may do so still on servers that have not read
	// the file yet.
	Replaced Standing = "replaced"
	// Retired is a key that no server mints with any more.
	Retired Standing = "retired"
	// Unmarked is a key besides the first of which the file says nothing: somebody has
	// put it there by hand.
	Unmarked Standing = "unmarked"
)

// Errors of a file.
var (
	// ErrStanding reports a change that a key is not in the right standing for.
	ErrStanding = errors.New("the root key has another standing")
)

// Entry is a key of a file.
type Entry struct {
	Key      *Key
	Standing Standing
	// MintedUntil is when the last server stopped to mint with a Retired key; else zero.
	MintedUntil time.Time
}

// File is a root key file with its comments, some of which say what a key is there
// for:
//
//	# 9c3e is next: it verifies everywhere before it mints
//	# 581a is replaced: servers that have not been restarted mint with it
//	# 581a minted until 2026-06-01T12:00:00Z
//
// To [ReadRing] they are comments like any other. The zero value is an empty file. It
// prints as "[redacted]".
type File struct {
	lines []fileLine
}

type fileLine struct {
	text string // without the newline
	key  *Key   // nil: no key is in it
}

// The ends of comments that say what a key is there for, after its ID.
const (
	saysNext     = "is next: it verifies everywhere before it mints"
	saysReplaced = "is replaced: servers that have not been restarted mint with it"
	saysRetired  = "minted until "
)

// ReadFile reads a root key file as [ReadRing] does, with the same errors, and
// remembers its comments.
func ReadFile(r io.Reader) (*File, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read root keys: %w", err)
	}
	if _, err := ReadRing(bytes.NewReader(text)); err != nil {
		return nil, err
	}
	f := &File{}
	for line := range strings.SplitSeq(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		l := fileLine{text: line}
		if trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			if l.key, err = Parse(trimmed); err != nil {
				return nil, err // ReadRing has seen it
			}
		}
		f.lines = append(f.lines, l)
	}
	return f, nil
}

// Text returns the file as it is to be written. Until it is changed, that is what was
// read, byte for byte. MUST NOT be logged.
func (f *File) Text() []byte {
	texts := make([]string, len(f.lines))
	for i, line := range f.lines {
		texts[i] = line.text
	}
	return []byte(strings.Join(texts, "\n"))
}

// Entries returns the keys in their order, the minting one first.
func (f *File) Entries() []Entry {
	var entries []Entry
	for _, line := range f.lines {
		if line.key == nil {
			continue
		}
		e := Entry{Key: line.key, Standing: Minting}
		if len(entries) > 0 {
			e.Standing, e.MintedUntil = f.says(line.key.id)
		}
		entries = append(entries, e)
	}
	return entries
}

// says returns what the comments say of a key, the last of them if there are several.
func (f *File) says(id ID) (Standing, time.Time) {
	standing, until := Unmarked, time.Time{}
	for _, line := range f.lines {
		words, ok := line.about(id)
		if !ok {
			continue
		}
		switch {
		case strings.HasPrefix(words, "is next"):
			standing, until = Next, time.Time{}
		case strings.HasPrefix(words, "is replaced"):
			standing, until = Replaced, time.Time{}
		default:
			at, err := time.Parse(time.RFC3339, strings.TrimPrefix(words, saysRetired))
			if err == nil {
				standing, until = Retired, at
			}
		}
	}
	return standing, until
}

// about returns what a comment says of a key, if it does so in one of the forms
// above.
func (l fileLine) about(id ID) (string, bool) {
	if l.key != nil {
		return "", false
	}
	words, ok := strings.CutPrefix(strings.TrimSpace(l.text), "# "+id.String()+" ")
	return words, ok && (strings.HasPrefix(words, "is next") || strings.HasPrefix(words, "is replaced") ||
		strings.HasPrefix(words, saysRetired))
}

// mark replaces what the comments say of a key; empty words take it away.
func (f *File) mark(id ID, words string) {
	f.lines = slices.DeleteFunc(f.lines, func(l fileLine) bool { _, ok := l.about(id); return ok })
	if words == "" {
		return
	}
	at := slices.IndexFunc(f.lines, func(l fileLine) bool { return l.key != nil && l.key.id == id })
	f.lines = slices.Insert(f.lines, at, fileLine{text: "# " + id.String() + " " + words})
}

// in returns the keys of a standing.
func (f *File) in(standing Standing) []*Key {
	var keys []*Key
	for _, e := range f.Entries() {
		if e.Standing == standing {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// Add puts a new key at the end of the file, as the Next one. It returns
// [ErrDuplicate] for a key whose ID another one has, and [ErrStanding] if there is a
// next key already, or one that is not retired yet: one after the other.
func (f *File) Add(key *Key) error {
	for _, e := range f.Entries() {
		switch {
		case e.Key.id == key.id:
			return ErrDuplicate
		case e.Standing == Next || e.Standing == Replaced:
			return fmt.Errorf("%w: %s is %s", ErrStanding, e.Key.id, e.Standing)
		}
	}
	end := len(f.lines)
	for end > 0 && strings.TrimSpace(f.lines[end-1].text) == "" {
		end--
	}
	f.lines = append(f.lines[:end], fileLine{text: key.Reveal(), key: key}, fileLine{})
	f.mark(key.id, saysNext)
	return nil
}

// Promote puts the Next key first. The one that was first is Replaced. It returns
// [ErrStanding] if there is not exactly one next key.
func (f *File) Promote() error {
	next, minting := f.in(Next), f.in(Minting)
	if len(next) != 1 || len(minting) != 1 {
		return fmt.Errorf("%w: %d keys are next", ErrStanding, len(next))
	}
	f.mark(next[0].id, "")
	from := slices.IndexFunc(f.lines, func(l fileLine) bool { return l.key == next[0] })
	line := f.lines[from]
	f.lines = slices.Delete(f.lines, from, from+1)
	to := slices.IndexFunc(f.lines, func(l fileLine) bool { return l.key != nil })
	f.lines = slices.Insert(f.lines, to, line)
	f.mark(minting[0].id, saysReplaced)
	return nil
}

// Retire notes that no server mints with the Replaced keys any more, as of now.
func (f *File) Retire(now time.Time) {
	for _, key := range f.in(Replaced) {
		f.mark(key.id, saysRetired+now.UTC().Format(time.RFC3339))
	}
}

// Remove takes a key out of the file, and what the comments say of it. It returns
// [ErrUnknown] or, for the minting key, [ErrStanding]. Everything else that speaks
// against it is for the caller to know.
func (f *File) Remove(id ID) error {
	at := slices.IndexFunc(f.lines, func(l fileLine) bool { return l.key != nil && l.key.id == id })
	if at < 0 {
		return ErrUnknown
	}
	if f.Entries()[0].Key.id == id {
		return fmt.Errorf("%w: %s is %s", ErrStanding, id, Minting)
	}
	f.lines = slices.Delete(f.lines, at, at+1)
	f.mark(id, "")
	return nil
}

// String returns a placeholder, as do the methods below.
func (f File) String() string { return redacted }

// GoString implements [fmt.GoStringer] for the %#v verb.
func (f File) GoString() string { return redacted }

// Format implements [fmt.Formatter]: every verb prints the placeholder.
func (f File) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// LogValue implements [slog.LogValuer].
func (f File) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON and YAML.
func (f File) MarshalText() ([]byte, error) { return []byte(redacted), nil }
