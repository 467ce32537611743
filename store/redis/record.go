package redis

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// version begins the birth field, so that a later Innkeeper can tell what it reads.
const version = 1

// birth is what never changes about a session.
type birth struct {
	userID    innkeeper.UserID
	createdAt time.Time
	expiresAt time.Time
	delivery  innkeeper.Delivery
	device    string
	methods   []string
}

func birthOf(s *innkeeper.Session) birth {
	return birth{
		userID: s.UserID, createdAt: stored(s.CreatedAt), expiresAt: stored(s.ExpiresAt),
		delivery: s.Delivery, device: s.Device, methods: slices.Clone(s.Methods),
	}
}

// appendBirth is the field b. The script that carries a session finds the user ID in
// it, after the version.
func appendBirth(b []byte, from *birth) []byte {
	b = append(b, version)
	b = append(b, from.userID[:]...)
	b = appendTime(b, from.createdAt)
	b = appendTime(b, from.expiresAt)
	b = appendText(b, string(from.delivery))
	b = appendText(b, from.device)
	for _, method := range from.methods {
		b = appendText(b, method)
	}
	return b
}

func parseBirth(field string) (birth, error) {
	r := reader{rest: field}
	var b birth
	var first [1]byte
	r.fill(first[:])
	r.fill(b.userID[:])
	b.createdAt = r.time()
	b.expiresAt = r.time()
	b.delivery = innkeeper.Delivery(r.text())
	b.device = r.text()
	for r.rest != "" && !r.malformed {
		b.methods = append(b.methods, r.text())
	}
	if r.malformed || first[0] != version {
		return birth{}, errMalformed
	}
	return b, nil
}

// session returns a session of which only what never changes is known.
func (b *birth) session(id innkeeper.SessionID) innkeeper.Session {
	return innkeeper.Session{
		ID: id, UserID: b.userID, Delivery: b.delivery, Device: b.device, Methods: slices.Clone(b.methods),
		CreatedAt: b.createdAt, ExpiresAt: b.expiresAt,
	}
}

// appendRecent is the field k. Of a session that was never rotated with a key it
// holds the time alone.
func appendRecent(b []byte, at time.Time, keys ...innkeeper.KeyHash) []byte {
	b = appendTime(b, at)
	for i := len(keys); i > 0 && keys[i-1] == (innkeeper.KeyHash{}); i-- {
		keys = keys[:i-1]
	}
	for _, key := range keys {
		b = append(b, key[:]...)
	}
	return b
}

func parseRecent(field string) (at time.Time, keys innkeeper.RecentKeys, err error) {
	r := reader{rest: field}
	at = r.time()
	for i := 0; i < len(keys) && r.rest != ""; i++ {
		r.fill(keys[i][:])
	}
	if r.malformed || r.rest != "" {
		err = errMalformed
	}
	return at, keys, err
}

// appendRotation is the field r.
func appendRotation(b []byte, refreshExpiresAt time.Time, generation uint32, salt innkeeper.Salt, client innkeeper.Client) []byte {
	b = appendTime(b, refreshExpiresAt)
	b = binary.BigEndian.AppendUint32(b, generation)
	b = append(b, salt[:]...)
	addr, _ := client.Addr.MarshalBinary() // never fails
	b = appendText(b, string(addr))
	return append(b, client.UserAgent...)
}

func (r *reader) rotation(s *innkeeper.Session) {
	s.RefreshExpiresAt = r.time()
	var generation [4]byte
	r.fill(generation[:])
	s.Generation = binary.BigEndian.Uint32(generation[:])
	r.fill(s.Salt[:])
	s.Client.Addr = r.addr()
	s.Client.UserAgent = strings.Clone(r.rest)
}

// appendEnding is the field x.
func appendEnding(b []byte, ending *innkeeper.Ending) []byte {
	return append(appendTime(b, ending.At), ending.Reason...)
}

// begun is an ending that was begun, and is done with once the session has ended. The
// zero value is none.
type begun struct {
	field   string    // as it is stored
	notedAt time.Time // by the clock of the server that noted it
	at      time.Time
	reason  innkeeper.Reason
}

// appendBegun is the field y.
func appendBegun(b []byte, notedAt time.Time, ending *innkeeper.Ending) []byte {
	return appendEnding(appendTime(b, notedAt), ending)
}

func parseBegun(field string) (begun, error) {
	r := reader{rest: field}
	noted := begun{field: field, notedAt: r.time(), at: r.time(), reason: innkeeper.Reason(r.rest)}
	if r.malformed {
		return begun{}, errMalformed
	}
	return noted, nil
}

// record is a session as it is stored.
type record struct {
	birth   birth
	begun   begun
	session innkeeper.Session // its epoch is the one it was born or last rotated under
	carried string            // the epochs that it may live under as well, end to end
}

func parseRecord(id innkeeper.SessionID, fields map[string]string) (record, error) {
	b, err := parseBirth(fields[fieldBirth])
	if err != nil {
		return record{}, err
	}
	rec := record{birth: b, session: b.session(id), carried: fields[fieldCarried]}
	s := &rec.session
	if s.RotatedAt, s.RecentKeys, err = parseRecent(fields[fieldRecent]); err != nil {
		return record{}, err
	}
	epoch, rotation := reader{rest: fields[fieldEpoch]}, reader{rest: fields[fieldRotation]}
	epoch.fill(s.Epoch[:])
	rotation.rotation(s)
	secret, ending := reader{rest: fields[fieldSecret]}, reader{rest: fields[fieldEnding]}
	if _, ended := fields[fieldEnding]; ended {
		s.EndedAt = ending.time()
		s.Reason = innkeeper.Reason(ending.rest)
	} else {
		secret.fill(s.SecretHash[:])
		if noted, ok := fields[fieldBegun]; ok {
			if rec.begun, err = parseBegun(noted); err != nil {
				return record{}, err
			}
		}
	}
	if epoch.malformed || rotation.malformed || secret.malformed || ending.malformed {
		return record{}, errMalformed
	}
	return rec, nil
}

// resolve makes the user's epoch the session's if it was carried to it, and reports
// whether the two are the same.
func (rec *record) resolve(epoch innkeeper.Epoch) bool {
	for i := 0; i+len(epoch) <= len(rec.carried); i += len(epoch) {
		if rec.carried[i:i+len(epoch)] == string(epoch[:]) {
			rec.session.Epoch = epoch
		}
	}
	return rec.session.Epoch == epoch
}

const timeSize = 8

// appendTime appends microseconds as a number whose bytes sort as the times do.
func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMicro())^1<<63)
}

// appendText appends text and its length before it.
func appendText(b []byte, text string) []byte {
	return append(binary.AppendVarint(b, int64(len(text))), text...)
}

// stored is a time as it comes back.
func stored(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }

// reader takes a field apart, from the left. Whoever uses it looks once, at the end,
// whether the field was malformed.
type reader struct {
	rest      string
	malformed bool
}

func (r *reader) take(n int) string {
	if n < 0 || n > len(r.rest) {
		r.malformed = true
		return ""
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) fill(into []byte) { copy(into, r.take(len(into))) }

func (r *reader) time() time.Time {
	var b [timeSize]byte
	r.fill(b[:])
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b[:]) ^ 1<<63)).UTC() //nolint:gosec // G115: what appendTime made of it
}

func (r *reader) text() string {
	size, n := binary.Varint([]byte(r.rest[:min(len(r.rest), binary.MaxVarintLen64)]))
	if n <= 0 || size < 0 || size > int64(len(r.rest)-n) {
		r.malformed = true
		return ""
	}
	r.rest = r.rest[n:]
	return strings.Clone(r.take(int(size)))
}

func (r *reader) addr() netip.Addr {
	var addr netip.Addr
	if err := addr.UnmarshalBinary([]byte(r.text())); err != nil {
		r.malformed = true
	}
	return addr
}
