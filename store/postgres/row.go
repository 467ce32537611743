package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// text is how text is stored. PostgreSQL keeps neither NUL nor what is no UTF-8, and
// would refuse the whole statement. What strangers send (the name of a browser, of
// a device) must not be able to do that, so U+FFFD takes the place of such bytes.
func text(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// list is a list as it is stored: an empty one is not NULL.
func list(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// optionalTime stores the zero time, which means "not yet", as NULL.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// row is a row in PostgreSQL's binary format, which is read column by column, from
// the left. The first column that is not what it should be is kept as the error,
// so that a reader checks once, at the end. What is read is a copy: the values are
// only good until the next row.
type row struct {
	values [][]byte // nil: NULL
	next   int
	err    error
}

func (r *row) take() []byte {
	if r.next >= len(r.values) {
		r.fail("missing")
		return nil
	}
	r.next++
	return r.values[r.next-1]
}

func (r *row) fail(problem string) {
	if r.err == nil {
		r.err = fmt.Errorf("column %d is %s", r.next, problem)
	}
}

func (r *row) text() string { return string(r.take()) }

func (r *row) integer() int64 {
	v := r.take()
	switch len(v) {
	case 8:
		return int64(binary.BigEndian.Uint64(v)) //nolint:gosec // two's complement, as it came
	case 4:
		return int64(int32(binary.BigEndian.Uint32(v))) //nolint:gosec // the same
	}
	r.fail("no integer")
	return 0
}

func (r *row) generation() uint32 {
	v := r.integer()
	if v < 0 || v >= 1<<32 {
		r.fail("no generation")
	}
	return uint32(v & (1<<32 - 1))
}

func (r *row) flag() bool {
	v := r.take()
	if len(v) != 1 {
		r.fail("no boolean")
		return false
	}
	return v[0] != 0
}

// PostgreSQL counts microseconds from the beginning of 2000.
const postgresEpoch = 946_684_800_000_000

func (r *row) time() time.Time { return time.UnixMicro(r.integer() + postgresEpoch).UTC() }

func (r *row) optionalTime() time.Time {
	if r.null() {
		return time.Time{}
	}
	return r.time()
}

func (r *row) blob() []byte { return bytes.Clone(r.take()) }

// fixed reads bytes that must fill their destination.
func (r *row) fixed(into []byte) {
	v := r.take()
	if len(v) != len(into) {
		r.fail("too long or too short")
	}
	copy(into, v)
}

// optional reads bytes that are NULL where there are none.
func (r *row) optional(into []byte) {
	if !r.null() {
		r.fixed(into)
	}
}

// null skips the column and returns true if it is NULL.
func (r *row) null() bool {
	if r.next < len(r.values) && r.values[r.next] == nil {
		r.next++
		return true
	}
	return false
}

func (r *row) addr() netip.Addr {
	v := r.take()
	if len(v) == 0 {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(string(v))
	if err != nil {
		r.fail("no address")
	}
	return a
}

// list reads a text[]: its number of dimensions, whether it has NULLs, the type of
// its elements, the length and lower bound of its one dimension, and then each
// element after its length, all in four bytes each.
func (r *row) list() []string {
	const header = 5 * 4
	v := r.take()
	if len(v) < header { // no dimension: it is empty
		return nil
	}
	names := make([]string, binary.BigEndian.Uint32(v[12:])&0xffff)
	v = v[header:]
	for i := range names {
		if len(v) < 4 || len(v)-4 < int(binary.BigEndian.Uint32(v)) {
			r.fail("no list of names")
			return nil
		}
		size := 4 + int(binary.BigEndian.Uint32(v))
		names[i] = string(v[4:size])
		v = v[size:]
	}
	return names
}

// wrap says what was being done when an error happened.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
