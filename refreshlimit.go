package innkeeper

import "fmt"

// defaultRefreshLimit is far beyond what an honest client needs, which refreshes once in
// the life of an access token, and what many tabs and retries make of that.
const defaultRefreshLimit = 60

// maxRefreshLimit keeps a moment longer than what a time can hold.
const maxRefreshLimit = 60_000

// refreshLimit bounds how often one session is refreshed at one server: a client gone
// wild costs the store no more than 60 honest ones. It is never about an address, so
// nobody is slowed down for a neighbor; and it stands behind the check of the token's
// tag, so nobody can use up what is another's. A refresh stays one row and one statement.
type refreshLimit struct{ allowance[SessionID] }

// perMinute sets the limit: so many refreshes at once, and in each minute. Zero means
// 60, and a negative number none.
func (l *refreshLimit) perMinute(n int) error {
	switch {
	case n < 0:
		return nil
	case n == 0:
		n = defaultRefreshLimit
	case n > maxRefreshLimit:
		return &InputError{Field: "refresh-limit", Detail: fmt.Sprintf("choose 1 to %d, or turn it off", maxRefreshLimit)}
	}
	l.allowance.perMinute(n)
	return nil
}
