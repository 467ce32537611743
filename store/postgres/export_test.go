package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"

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
