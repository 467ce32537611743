package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	engine "modernc.org/sqlite"
)

// conn is a connection and its prepared statements, for one goroutine at a time.
//
// It speaks to the driver without database/sql, whose pool, retries and
// conversions would cost a rotation a tenth more and are of no use to a
// connection with one owner.
type conn struct {
	driver.Conn
	statements map[string]statement // by their text
	args       []driver.NamedValue  // of the call in progress
	values     []driver.Value       // of the row in progress
}

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func connect(dsn string) (*conn, error) {
	connector, err := engine.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	opened, err := connector.Connect(context.Background())
	if err != nil {
		return nil, err
	}
	return &conn{Conn: opened, statements: make(map[string]statement)}, nil
}

// Close finalizes the statements and closes the connection.
func (c *conn) Close() error {
	var errs []error
	for _, stmt := range c.statements {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, c.Conn.Close())...)
}

// exec runs a statement and returns how many rows it changed.
func (c *conn) exec(query string, args ...any) (int64, error) {
	stmt, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	result, err := stmt.ExecContext(context.Background(), c.bind(args))
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// one runs a statement that returns at most one row, and returns that row or nil.
func (c *conn) one(query string, args ...any) (*row, error) {
	var found *row
	err := c.each(query, args, func(r *row) error {
		found = &row{values: slices.Clone(r.values)}
		return nil
	})
	return found, err
}

// each runs a statement to its end and calls visit with each row, which is good
// until visit returns; what it read from the row is its own. The connection must
// not be used meanwhile.
//
// Nothing cancels a statement that runs: all of them are bounded, by a primary
// key or a limit, and a write that was given up halfway would have an outcome
// that nobody knows. It saves a goroutine for each statement, too.
func (c *conn) each(query string, args []any, visit func(*row) error) (err error) {
	stmt, err := c.prepare(query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(context.Background(), c.bind(args))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	c.values = slices.Grow(c.values[:0], len(rows.Columns()))[:len(rows.Columns())]
	for {
		switch err := rows.Next(c.values); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := visit(&row{values: c.values}); err != nil {
			return err
		}
	}
}

func (c *conn) prepare(query string) (statement, error) {
	if stmt, ok := c.statements[query]; ok {
		return stmt, nil
	}
	prepared, err := c.Prepare(query)
	if err != nil {
		return nil, err
	}
	stmt, ok := prepared.(statement)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's %T takes no context", prepared), prepared.Close())
	}
	c.statements[query] = stmt
	return stmt, nil
}

// bind turns arguments into what the driver takes.
func (c *conn) bind(args []any) []driver.NamedValue {
	c.args = c.args[:0]
	for i, arg := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: column(arg)})
	}
	return c.args
}

// column is how a value is stored.
func column(value any) driver.Value {
	switch v := value.(type) {
	case int:
		return int64(v)
	case uint32:
		return int64(v)
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case time.Time:
		return v.UnixMicro()
	case netip.Addr:
		if !v.IsValid() {
			return ""
		}
		return v.String()
	}
	return value // the driver refuses what it does not know
}

// optionalTime stores the zero time, which means "not yet", as NULL.
func optionalTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// list stores names as one text, see the migration. It refuses what could not be
// told apart again.
func list(names []string) (string, error) {
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, " \t\n") {
			return "", fmt.Errorf("store name %q: it is empty or has a space", name)
		}
	}
	return strings.Join(names, " "), nil
}

// row is a row that is read column by column, from the left. The first column
// that is not what it should be is kept as the error, so that a reader checks
// once, at the end.
type row struct {
	values []driver.Value
	next   int
	err    error
}

func (r *row) take() driver.Value {
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

func (r *row) text() string {
	v, ok := r.take().(string)
	if !ok {
		r.fail("no text")
	}
	return v
}

func (r *row) integer() int64 {
	v, ok := r.take().(int64)
	if !ok {
		r.fail("no integer")
	}
	return v
}

func (r *row) generation() uint32 {
	v := r.integer()
	if v < 0 || v >= 1<<32 {
		r.fail("no generation")
	}
	return uint32(v & (1<<32 - 1))
}

func (r *row) flag() bool { return r.integer() != 0 }

func (r *row) time() time.Time { return time.UnixMicro(r.integer()).UTC() }

func (r *row) optionalTime() time.Time {
	if r.null() {
		return time.Time{}
	}
	return r.time()
}

func (r *row) blob() []byte {
	v, ok := r.take().([]byte)
	if !ok {
		r.fail("no blob")
	}
	return v
}

// fixed reads a blob that must fill its destination.
func (r *row) fixed(into []byte) {
	flat := r.blob()
	r.fill(into, &flat)
}

// fill moves bytes from the beginning of a blob to a destination.
func (r *row) fill(into []byte, from *[]byte) {
	n := copy(into, *from)
	if n < len(into) {
		r.fail("too short")
	}
	*from = (*from)[n:]
}

// optional reads a blob that is NULL where there is none.
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
	text := r.text()
	if text == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		r.fail("no address")
	}
	return addr
}

func (r *row) list() []string { return splitList(r.text()) }

func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, " ")
}

// lines is text in which several values are packed, a line each.
type lines struct {
	text      string // what has not been read yet
	malformed bool
}

func (l *lines) next() string {
	line, rest, ok := strings.Cut(l.text, "\n")
	l.text = rest
	l.malformed = l.malformed || !ok
	return line
}

func (l *lines) integer() int64 {
	v, err := strconv.ParseInt(l.next(), 10, 64)
	l.malformed = l.malformed || err != nil
	return v
}

func (l *lines) time() time.Time { return time.UnixMicro(l.integer()).UTC() }

// sized reads text of any kind, before which stands a line with its length.
func (l *lines) sized() string {
	size := l.integer()
	if size < 0 || size > int64(len(l.text)) {
		l.malformed = true
		return ""
	}
	text := l.text[:size]
	l.text = l.text[size:]
	return text
}
