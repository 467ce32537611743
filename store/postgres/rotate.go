package postgres

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// asked are the rotations of one statement: ten arrays of the same length.
const asked = `
select * from unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[],
        $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[])
    with ordinality as a (id, presented, generation, secret_hash, salt, key, at, refresh_expires_at, addr, user_agent, n)`

// rotated is the whole of a refresh. A NULL secret_hash equals nothing, so one
// comparison tells the current token of a live session from any other. It returns
// what the caller does not know already.
const rotated = `
update session s set
    generation = a.generation, secret_hash = a.secret_hash, salt = a.salt,
    recent_keys = substring(a.key || s.recent_keys from 1 for 128),
    rotated_at = a.at, refresh_expires_at = least(s.expires_at, a.refresh_expires_at),
    addr = a.addr, user_agent = a.user_agent
from a, users u
where s.id = a.id and s.secret_hash = a.presented
    and u.number = s.user_number and u.epoch = s.epoch and not u.disabled
returning a.n, s.user_id, s.epoch, s.recent_keys, s.delivery, s.device, s.methods, s.created_at, s.expires_at,
    u.epoch_reason, u.username, u.email, ` + claims

const (
	// rotateTogether rotates the sessions that it can lock at once, and leaves the
	// others as they are: whoever holds their locks holds up nobody else, and what
	// never waits never deadlocks.
	rotateTogether = `
with a as (
    select a.* from (` + asked + `) a join session s on s.id = a.id and s.secret_hash = a.presented
    for no key update of s skip locked
)` + rotated

	// rotateAlone rotates one session, and waits for its lock.
	rotateAlone = `with a as (` + asked + `)` + rotated
)

// batch is the rotations of one statement, in the format in which they are sent. It
// is used again and again, so that encoding allocates nothing.
type batch struct {
	columns [10][]byte
	values  [10][]byte
	scratch []byte
}

var (
	columnTypes = [10]uint32{
		pgtype.ByteaOID, pgtype.ByteaOID, pgtype.Int8OID, pgtype.ByteaOID, pgtype.ByteaOID, pgtype.ByteaOID,
		pgtype.TimestamptzOID, pgtype.TimestamptzOID, pgtype.TextOID, pgtype.TextOID,
	}
	binaryFormat = []int16{pgx.BinaryFormatCode}
)

// encode writes each column as an array: one dimension, no NULL, the type of its
// elements, their number, the index of the first, and then each after its length.
func (b *batch) encode(items []*rotation) {
	for i, oid := range columnTypes {
		column := b.columns[i][:0]
		column = binary.BigEndian.AppendUint32(column, 1)
		column = binary.BigEndian.AppendUint32(column, 0)
		column = binary.BigEndian.AppendUint32(column, oid)
		column = binary.BigEndian.AppendUint32(column, uint32(len(items))) //nolint:gosec // at most maxBatch
		b.columns[i] = binary.BigEndian.AppendUint32(column, 1)
	}
	for _, item := range items {
		r := &item.asked
		b.bytes(0, r.SessionID[:])
		b.bytes(1, r.Presented[:])
		b.integer(2, int64(r.Generation))
		b.bytes(3, r.SecretHash[:])
		b.bytes(4, r.Salt[:])
		b.bytes(5, r.Key[:])
		b.time(6, r.At)
		b.time(7, r.RefreshExpiresAt)
		b.scratch = b.scratch[:0]
		if r.Client.Addr.IsValid() {
			b.scratch = r.Client.Addr.AppendTo(b.scratch)
		}
		b.bytes(8, b.scratch)
		b.string(9, r.Client.UserAgent)
	}
	copy(b.values[:], b.columns[:])
}

func (b *batch) bytes(i int, v []byte) {
	b.columns[i] = binary.BigEndian.AppendUint32(b.columns[i], uint32(len(v))) //nolint:gosec // short
	b.columns[i] = append(b.columns[i], v...)
}

func (b *batch) string(i int, v string) {
	b.columns[i] = binary.BigEndian.AppendUint32(b.columns[i], uint32(len(v))) //nolint:gosec // short
	b.columns[i] = append(b.columns[i], v...)
}

func (b *batch) integer(i int, v int64) {
	b.columns[i] = binary.BigEndian.AppendUint32(b.columns[i], 8)
	b.columns[i] = binary.BigEndian.AppendUint64(b.columns[i], uint64(v)) //nolint:gosec // two's complement
}

func (b *batch) time(i int, v time.Time) { b.integer(i, v.UnixMicro()-postgresEpoch) }

// send runs a statement with some rotations and fills in what it returns. It
// returns those that it has left as they are.
func (b *batch) send(ctx context.Context, conn *pgx.Conn, statement string, items []*rotation) ([]*rotation, error) {
	prepared, err := conn.Prepare(ctx, statement, statement)
	if err != nil {
		return nil, err
	}
	b.encode(items)
	result := conn.PgConn().ExecStatement(ctx, prepared, b.values[:], binaryFormat, binaryFormat)
	r := row{}
	for result.NextRow() {
		r = row{values: result.Values(), err: r.err}
		n := r.integer()
		if n < 1 || n > int64(len(items)) {
			r.fail("no position")
			continue
		}
		items[n-1].rotated(&r)
	}
	if _, err := result.Close(); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	var left []*rotation
	for _, item := range items {
		if !item.matched {
			left = append(left, item)
		}
	}
	return left, nil
}

// rotated puts the session together from the rotation and what it returned.
func (item *rotation) rotated(r *row) {
	by := &item.asked
	item.matched = true
	item.session = innkeeper.Session{ID: by.SessionID}
	session, user := &item.session, &item.user
	r.fixed(session.UserID[:])
	r.fixed(session.Epoch[:])
	session.RecentKeys = r.recentKeys()
	session.Delivery = innkeeper.Delivery(r.text())
	session.Device = r.text()
	session.Methods = r.list()
	session.CreatedAt = r.time()
	session.ExpiresAt = r.time()
	user.ID, user.Epoch = session.UserID, session.Epoch // the statement compared the epochs
	user.EpochReason = innkeeper.Reason(r.text())
	user.Username = r.text()
	user.Email = r.text()
	r.claims(user)
	by.Apply(session)
}
