package sqlite

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// Commits returns how many groups the writer has committed.
func (s *Store) Commits() int64 { return s.writer.commits.Load() }

// Exec writes to the database behind the store's back.
func (s *Store) Exec(t testing.TB, query string) {
	t.Helper()
	err := s.writer.write(context.Background(), func(c *conn) error {
		_, err := c.exec(query)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Text returns the one text that a query selects.
func (s *Store) Text(t testing.TB, query string) string {
	t.Helper()
	text, _, err := readOne(context.Background(), s.readers, (*row).text, query)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Plans returns the query plan of each statement that has been prepared.
func (s *Store) Plans(t testing.TB) map[string]string {
	t.Helper()
	plans := make(map[string]string)
	explain := func(c *conn) error {
		for query, stmt := range c.statements {
			if strings.HasPrefix(query, "explain") {
				continue
			}
			args := make([]any, max(strings.Count(query, "?"), stmt.NumInput()))
			err := c.each("explain query plan "+query, args, func(r *row) error {
				plans[query] += fmt.Sprintln(r.values[3])
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
		}
		return nil
	}
	if err := s.writer.write(context.Background(), explain); err != nil {
		t.Fatal(err)
	}
	for range cap(s.readers.idle) {
		if err := s.readers.read(context.Background(), func(c *conn) error { return explain(c) }); err != nil {
			t.Fatal(err)
		}
	}
	return plans
}

// RotationCode returns the operations that SQLite runs for a rotation.
func (s *Store) RotationCode(t testing.TB) []string {
	t.Helper()
	var ops []string
	err := s.writer.write(context.Background(), func(c *conn) error {
		return c.each("explain "+rotateSession, make([]any, 10), func(r *row) error {
			ops = append(ops, fmt.Sprint(r.values[1]))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return ops
}
