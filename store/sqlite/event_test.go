package sqlite_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

// TestEventFiltersUseIndexes asks by each filter, and looks at how SQLite answers.
func TestEventFiltersUseIndexes(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for want, query := range map[string]innkeeper.EventQuery{
		"SEARCH event USING INTEGER PRIMARY KEY (rowid>?)":                   {},
		"SEARCH event USING INDEX event_by_kind (kind=? AND seq>?)":          {Kind: innkeeper.EventTokenReused},
		"SEARCH event USING INDEX event_of_user (user_id=? AND seq>?)":       {UserID: innkeeper.UserID{1}},
		"SEARCH event USING INDEX event_of_session (session_id=? AND seq>?)": {SessionID: innkeeper.SessionID{1}},
		"SEARCH event USING INDEX event_by_actor (actor=? AND seq>?)":        {Actor: innkeeper.ActorOperator},
		"SEARCH event USING COVERING INDEX event_by_time (at>?)":             {Since: now},
		"SEARCH event USING COVERING INDEX event_by_time (at<?)":             {Until: now, NewestFirst: true},
	} {
		store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "innkeeper.db")})
		store = storetest.Opened(t, store, err)
		query.Limit = 100
		if _, err := store.Events(t.Context(), query); err != nil {
			t.Fatal(err)
		}
		for statement, plan := range store.Plans(t) {
			if !strings.Contains(statement, " from event where ") || strings.HasPrefix(statement, "delete") {
				continue
			}
			if !strings.Contains(plan, want) || strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("%s\nis answered by\n%s\nwant %s", statement, plan, want)
			}
		}
	}
}
