package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
	"github.com/jackc/pgx/v5"
)

// Several nodes that sweep at once share the work.
func TestSweepsShareTheWork(t *testing.T) {
	database := newDatabase(t)
	stores := open(t, database).Stores()
	sessions := crew(t, stores, 100)
	late := sessions[0].ExpiresAt.Add(time.Hour)
	var swept atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		sweeper := open(t, database).Stores().Sessions
		wg.Go(func() {
			for range 20 {
				n, err := sweeper.SweepSessions(t.Context(), late, 10)
				if err != nil || n > 10 {
					t.Errorf("swept %d, %v", n, err)
				}
				swept.Add(int64(n))
			}
		})
	}
	wg.Wait()
	if swept.Load() != 100 {
		t.Errorf("swept %d of 100", swept.Load())
	}
}

// Refreshes leave everything as large as it was, even with nobody to vacuum.
//
// This must run alone: as long as any transaction of the server writes, be it in
// another database, PostgreSQL may keep the old versions of rows.
func TestRefreshesDoNotGrowTheStore(t *testing.T) {
	database := newDatabase(t)
	admin := connect(t, database)
	store := open(t, database)
	exec(t, admin, `alter table session set (autovacuum_enabled = off)`)
	sessions := crew(t, store.Stores(), 400)
	count := func() (rows string) {
		t.Helper()
		const query = `
select concat_ws(' ', (select count(*) from session), (select count(*) from users), (select count(*) from event),
    (select count(*) from revocation), (select last from revocation_counter))`
		if err := admin.QueryRow(t.Context(), query).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	const rounds = 20
	before := count()
	pages, _, _ := usage(t, admin)
	var wg sync.WaitGroup
	for share := range 32 {
		wg.Go(func() {
			for range rounds {
				for i := share; i < len(sessions); i += 32 {
					rotated, _, err := store.Stores().Sessions.RotateSession(t.Context(), storetest.Successor(sessions[i], start))
					if err != nil {
						t.Error(err)
						return
					}
					sessions[i] = rotated
				}
			}
		})
	}
	wg.Wait()
	var grown, updates, hot int64
	eventually(t, "the server has counted", func() bool {
		grown, updates, hot = usage(t, admin)
		return updates >= int64(rounds*len(sessions))
	})
	if after := count(); after != before {
		t.Errorf("rows went from %s to %s", before, after)
	}
	t.Logf("%d updates, %d of them HOT, %d pages before and %d after", updates, hot, pages, grown)
	if float64(hot) < 0.9*float64(updates) {
		t.Errorf("%d of %d updates were HOT", hot, updates)
	}
	if grown > pages*2 {
		t.Errorf("%d pages grew to %d", pages, grown)
	}
}

// Statements find their rows by an index, however many there are, and even while
// the planner knows nothing of the tables, as after a server's first start.
func TestPlans(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	store := openWith(t, postgres.Config{URL: database, MaxConns: 1})
	everything(t, store.Stores())
	checkPlans(t, store)
	multiply(t, connect(t, database), 100_000)
	everything(t, store.Stores())
	checkPlans(t, store)
}

func checkPlans(t *testing.T, store *postgres.Store) {
	t.Helper()
	plans := store.Plans(t)
	if len(plans) < 24 {
		t.Errorf("only %d statements were looked at", len(plans))
	}
	for statement, plan := range plans {
		// These hold a few rows and are read as a whole.
		seen := plan
		for _, small := range []string{"role", "root_key", "issuer", "signing_key"} {
			seen = strings.ReplaceAll(seen, "Seq Scan on "+small, "")
		}
		// A page of sessions, after its limit.
		if strings.Contains(statement, "cross join lateral") {
			seen = strings.Replace(seen, "Sort  (", "", 1)
			seen = strings.Replace(seen, "Sort Key", "", 1)
		}
		for _, slow := range []string{"Seq Scan", "Sort", "Hash Join", "Merge Join"} {
			if strings.Contains(seen, slow) {
				t.Errorf("%s in the plan of %s\n%s", slow, statement, plan)
			}
		}
	}
}

// everything calls each method of a store so that each of its statements is
// prepared.
func everything(t *testing.T, stores innkeeper.Stores) {
	t.Helper()
	ctx := t.Context()
	user := storetest.NewUser(fmt.Sprint("user", time.Now().UnixNano()), innkeeper.RoleAdmin)
	session, next, opened := storetest.NewSession(user), storetest.NewSession(user), storetest.NewSession(user)
	storetest.Create(t, stores, user, session)
	end := func(s *innkeeper.Session) innkeeper.Ending {
		return innkeeper.Ending{SessionID: s.ID, At: start, Revocation: innkeeper.Revocation{
			At: start, Kind: innkeeper.RevokedSession, ID: s.ID.String(),
		}}
	}
	replaced := end(&session)
	change := innkeeper.UserChange{ID: user.ID, IfEpoch: user.Epoch, At: start, NewEpoch: &innkeeper.EpochReplacement{
		Epoch: storetest.NewUser("").Epoch, Carry: &next.ID, Open: &opened,
		Revocation: innkeeper.Revocation{At: start, Kind: innkeeper.RevokedUser, ID: user.Epoch.String()},
	}}
	opened.Epoch = change.NewEpoch.Epoch
	remove := innkeeper.UserChange{ID: user.ID, IfEpoch: opened.Epoch, At: start, Delete: true}
	long := start.Add(-100 * 365 * 24 * time.Hour)
	for i, do := range []func() error{
		func() error {
			_, _, err := stores.Sessions.RotateSession(ctx, storetest.Successor(session, start))
			return err
		},
		func() error { // and once more alone, since nothing matches
			_, _, err := stores.Sessions.RotateSession(ctx, storetest.Successor(session, start))
			if errors.Is(err, innkeeper.ErrNoMatch) {
				return nil
			}
			return fmt.Errorf("got error %w, want %w", err, innkeeper.ErrNoMatch)
		},
		func() error { _, _, err := stores.Sessions.Session(ctx, session.ID); return err },
		func() error {
			return stores.Sessions.CreateSession(ctx, innkeeper.Birth{Session: next, Replaces: &replaced})
		},
		func() error {
			_, err := stores.Sessions.Sessions(ctx, innkeeper.SessionQuery{UserID: user.ID, AliveAt: start, Limit: 9})
			return err
		},
		func() error { _, err := stores.Users.ChangeUser(ctx, change); return err },
		func() error { return stores.Sessions.EndSession(ctx, end(&next)) },
		func() error { _, err := stores.Sessions.SweepSessions(ctx, long, 9); return err },
		func() error { _, err := stores.Users.User(ctx, user.ID); return err },
		func() error { _, err := stores.Users.UserByUsername(ctx, user.Username); return err },
		func() error { _, err := stores.Users.Users(ctx, innkeeper.UserQuery{Limit: 9}); return err },
		func() error { _, err := stores.Users.ChangeUser(ctx, remove); return err },
		func() error { return stores.Roles.SetRole(ctx, innkeeper.Role{Name: "clerk"}, innkeeper.Event{}) },
		func() error { _, err := stores.Roles.Roles(ctx); return err },
		func() error { return stores.Roles.DeleteRole(ctx, "clerk", innkeeper.Event{}) },
		func() error { return stores.Events.AppendEvent(ctx, innkeeper.Event{At: start, Kind: "x"}) },
		func() error { _, err := stores.Events.Events(ctx, innkeeper.EventQuery{Limit: 9}); return err },
		func() error {
			_, err := stores.Events.Events(ctx, innkeeper.EventQuery{UserID: user.ID, Limit: 9})
			return err
		},
		func() error { _, err := stores.Revocations.Revocations(ctx, 0, 9); return err },
		func() error {
			return stores.Revocations.Revoke(ctx, innkeeper.Revocation{At: start, Kind: "key", ID: "x"}, innkeeper.Event{})
		},
		func() error { _, err := stores.Revocations.SweepRevocations(ctx, long, 9); return err },
		func() error { _, err := stores.Attempts.Attempts(ctx, innkeeper.AttemptKey{1}); return err },
		func() error {
			_, err := stores.Attempts.SwapAttempts(ctx, innkeeper.AttemptKey{1}, innkeeper.Attempts{Count: 1, LastAt: start}, innkeeper.Attempts{Count: 2, LastAt: start})
			return err
		},
		func() error { _, err := stores.Attempts.SweepAttempts(ctx, long, 9); return err },
		func() error { return stores.RootKeys.AddRootKeyChecks(ctx, nil) },
		func() error { _, err := stores.RootKeys.RootKeyChecks(ctx); return err },
		func() error { return stores.Issuer.SetIssuer(ctx, "x") },
		func() error { _, err := stores.Issuer.Issuer(ctx); return err },
		func() error { _, err := stores.Keys.SigningKeys(ctx); return err },
		func() error { _ = stores.Keys.InitSigningKeys(ctx, nil); return nil },
	} {
		if err := do(); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

// multiply makes everything large: sessions of one user and of many, live, ended
// and expired, events and revocations.
func multiply(t *testing.T, admin *pgx.Conn, n int) {
	t.Helper()
	exec(t, admin, fmt.Sprintf(`
insert into users (id, username, email, epoch, epoch_reason, disabled, roles, password_hash, created_at, updated_at)
select decode(md5('user' || i), 'hex'), 'x' || i, '', epoch, '', false, roles, '', created_at, updated_at
from (select * from users limit 1) u, generate_series(1, %[1]d / 10) i;
insert into session
select case when i %% 2 = 0 then s.user_number else i / 10 + 1 end, s.created_at + i * interval '1 second',
    s.expires_at + i * interval '1 second', decode(md5(i::text), 'hex'), s.user_id, s.epoch, s.delivery, s.device, s.methods,
    case when i %% 3 = 0 then s.created_at + i * interval '1 second' end, '', s.generation, s.rotated_at, s.refresh_expires_at,
    s.secret_hash, s.salt, s.recent_keys, s.addr, s.user_agent
from (select * from session limit 1) s, generate_series(1, %[1]d) i;
insert into event (at, kind, actor, user_id, reason, addr, user_agent)
select u.created_at, 'x', '', u.id, '', '', '' from users u, generate_series(1, 10);
insert into revocation (seq, at, kind, id)
select i, to_timestamp(i), case when i %% 10 = 0 then 'key' else 'session' end, i::text from generate_series(1, %[1]d) i;
analyze`, n))
}
