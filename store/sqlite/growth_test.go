package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/password"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// openSQLite returns an authority over a new SQLite file, and the file's path.
func openSQLite(t *testing.T) (*innkeeper.Authority, string) {
	t.Helper()
	path := newPath(t)
	store := open(t, path)
	roots, err := rootkey.NewRing(rootkey.Generate())
	if err != nil {
		t.Fatal(err)
	}
	authority, err := innkeeper.Open(t.Context(), innkeeper.Config{
		Issuer: "https://auth.example", Stores: store.Stores(), RootKeys: roots, Clock: time.Now,
		Passwords:    password.Config{InsecureWeakParams: true, Params: password.Params{Memory: 8, Iterations: 1, Parallelism: 1}},
		SignInLimits: innkeeper.InsecureLimitNothing, RefreshLimit: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return authority, path
}

// inspect opens the file beside the store, to look at what nobody tells.
func inspect(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// rowCounts counts the rows of every table.
func rowCounts(t *testing.T, db *sql.DB) map[string]int {
	t.Helper()
	names, err := db.Query(`select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	counts := map[string]int{}
	for names.Next() {
		var name string
		if err := names.Scan(&name); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.QueryRow(`select count(*) from "` + name + `"`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		counts[name] = n
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestRefreshesDoNotGrowTheStore refreshes 1,000 sessions 100 times each; under
// the race detector, which makes that ten times slower, 10 times each.
func TestRefreshesDoNotGrowTheStore(t *testing.T) {
	const sessions, clients = 1000, 64
	refreshes := 100
	if raceEnabled {
		refreshes = 10
	}
	authority, path := openSQLite(t)
	ctx := t.Context()
	signUp(t, authority, "ada")
	tokens := make([]string, sessions)
	eachOf(clients, sessions, func(i int) {
		grant, err := authority.Login(ctx, innkeeper.LoginRequest{Username: "ada", Password: plain, Delivery: innkeeper.DeliverByBody})
		if err != nil {
			t.Error(err)
			return
		}
		tokens[i] = grant.RefreshToken.Reveal()
	})
	if t.Failed() {
		t.FailNow()
	}
	db := inspect(t, path)
	before, size := rowCounts(t, db), fileSize(t, path)

	eachOf(clients, sessions, func(i int) {
		for range refreshes {
			grant, err := authority.Refresh(ctx, innkeeper.RefreshRequest{RefreshTokens: []string{tokens[i]}, Delivery: innkeeper.DeliverByBody})
			if err != nil {
				t.Error(err)
				return
			}
			tokens[i] = grant.RefreshToken.Reveal()
		}
	})

	after := rowCounts(t, db)
	if !maps.Equal(before, after) {
		t.Errorf("row counts went from %v to %v", before, after)
	}
	// The first checkpoint brings pages into the file that stood in the log before;
	// after that it stays as it is.
	if _, err := db.Exec(`pragma wal_checkpoint(passive)`); err != nil {
		t.Fatal(err)
	}
	grown, log := fileSize(t, path), fileSize(t, path+"-wal")
	t.Logf("%d refreshes: file %d → %d bytes, log %d bytes, rows %v", sessions*refreshes, size, grown, log, after)
	const perSession = 2 << 10 // a row, its indexes, its event, and half-empty pages
	if limit := int64(1<<20 + sessions*perSession); grown > limit {
		t.Errorf("the file has grown to %d bytes, more than %d", grown, limit)
	}
	if log > 64<<20 {
		t.Errorf("the log has grown to %d bytes", log)
	}
}

// TestLogoutEverywhereIsOneWrite compares what a logout everywhere changes for
// one session and for 100,000; under the race detector, for 2,000.
func TestLogoutEverywhereIsOneWrite(t *testing.T) {
	many := 100_000
	if raceEnabled {
		many = 2_000
	}
	authority, path := openSQLite(t)
	db := inspect(t, path)
	written := map[string]map[string]int{}
	for name, sessions := range map[string]int{"one": 1, "many": many} {
		user := signUp(t, authority, name)
		grant, err := authority.Login(t.Context(), innkeeper.LoginRequest{Username: name, Password: plain, Delivery: innkeeper.DeliverByBody})
		if err != nil {
			t.Fatal(err)
		}
		if sessions > 1 {
			multiply(t, db, grant.Session.ID, sessions)
		}
		caller, err := authority.Authenticate(t.Context(), grant.AccessToken)
		if err != nil {
			t.Fatal(err)
		}

		changes := watchSessions(t, db)
		before := rowCounts(t, db)
		if err := authority.Logout(t.Context(), innkeeper.LogoutRequest{Scope: innkeeper.LogoutEverywhere, Caller: caller}); err != nil {
			t.Fatal(err)
		}
		added := rowCounts(t, db)
		for table, n := range before {
			added[table] -= n
		}
		added["sessions changed"] = changes()
		written[name] = added
		if live, err := authority.Sessions(t.Context(), user.ID, innkeeper.SessionID{}); err != nil || len(live) != 0 {
			t.Fatalf("%d sessions live on, %v", len(live), err)
		}
	}
	t.Logf("rows added: %v", written)
	if !maps.Equal(written["one"], written["many"]) {
		t.Fatalf("a logout everywhere of one session wrote %v, of %d %v", written["one"], many, written["many"])
	}
}

// multiply copies a session until the user has n.
func multiply(t *testing.T, db *sql.DB, id innkeeper.SessionID, n int) {
	t.Helper()
	rows, err := db.Query(`select name from pragma_table_info('session') where name <> 'id' and not pk`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names := ""
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names += ", " + name
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	copies := fmt.Sprintf(`with recursive copies(i) as (select 1 union all select i + 1 from copies where i < %d)
		insert into session (id%s) select randomblob(16)%s from session, copies where id = ?`, n-1, names, names)
	if _, err := db.Exec(copies, id[:]); err != nil {
		t.Fatal(err)
	}
}

// watchSessions returns a function that counts how many rows of the table of
// sessions differ from now.
func watchSessions(t *testing.T, db *sql.DB) func() int {
	t.Helper()
	const snapshot = `select count(*) from session s join before_logout b on b.id = s.id
		where s.secret_hash is not b.secret_hash or s.epoch is not b.epoch or s.ended_at is not b.ended_at`
	for _, statement := range []string{`drop table if exists before_logout`, `create table before_logout as select * from session`} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	return func() int {
		var changed int
		if err := db.QueryRow(snapshot).Scan(&changed); err != nil {
			t.Fatal(err)
		}
		return changed
	}
}

// plain is the password of everybody here.
const plain = "correct horse battery staple"

func signUp(t *testing.T, authority *innkeeper.Authority, name string) *innkeeper.User {
	t.Helper()
	user, err := authority.CreateUser(context.Background(), innkeeper.NewUser{Username: name, Password: plain}, innkeeper.ActorOperator)
	if err != nil {
		t.Fatal(err)
	}
	return user
}

// eachOf calls f for 0 to n-1, from so many goroutines at once.
func eachOf(goroutines, n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
