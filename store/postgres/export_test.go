package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/jackc/pgx/v5"
)

// MaxLanes is how many batches are under way at once.
const MaxLanes = maxLanes

// Batches returns how many statements the lanes have sent.
func (s *Store) Batches() int64 { return s.lanes.together.sent.Load() }

// Queued returns how many rotations wait for a lane.
func (s *Store) Queued() int {
	l := &s.lanes.together
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// AppendAndWait appends an event in a transaction that stays open until commit is
// called.
func (s *Store) AppendAndWait(t testing.TB, event innkeeper.Event) (commit func()) {
	t.Helper()
	args := pgx.NamedArgs{}
	if err := addEvent(args, "event", event); err != nil {
		t.Fatal(err)
	}
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), appendEvent, args); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// EventPlan returns how PostgreSQL answers a query of events, and how many pages it looks
// at for that.
func (s *Store) EventPlan(t testing.TB, query innkeeper.EventQuery) (plan string, pages int) {
	t.Helper()
	statement, args := eventQuery(&query)
	rows, err := s.pool.Query(t.Context(), "explain (analyze, buffers, costs off, timing off)"+statement, args)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if buffers, ok := strings.CutPrefix(strings.TrimSpace(line), "Buffers: shared"); ok { // the first is the sum
			for _, part := range strings.Fields(buffers) {
				_, count, _ := strings.Cut(part, "=")
				n, _ := strconv.Atoi(count)
				pages += n
			}
			break
		}
	}
	return strings.Join(lines, "\n"), pages
}

// Plans returns how the server runs each statement that a connection has prepared,
// as it has planned it for that connection.
func (s *Store) Plans(t testing.TB) map[string]string {
	t.Helper()
	ctx := context.Background()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, `select name, statement, cardinality(parameter_types) from pg_prepared_statements`, pgx.QueryExecModeExec)
	if err != nil {
		t.Fatal(err)
	}
	type prepared struct {
		Name, Statement string
		Parameters      int
	}
	statements, err := pgx.CollectRows(rows, pgx.RowToStructByPos[prepared])
	if err != nil {
		t.Fatal(err)
	}
	plans := make(map[string]string)
	for _, p := range statements {
		explain := fmt.Sprintf(`explain execute %q`, p.Name)
		if p.Parameters > 0 {
			explain += "(null" + strings.Repeat(", null", p.Parameters-1) + ")"
		}
		results, err := conn.Conn().PgConn().Exec(ctx, explain).ReadAll()
		if err != nil {
			t.Fatalf("%s\n%s: %v", p.Statement, explain, err)
		}
		for _, row := range results[0].Rows {
			plans[p.Statement] += string(row[0]) + "\n"
		}
	}
	return plans
}
