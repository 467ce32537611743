package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/postgres"
	"github.com/innkeeper-auth/innkeeper/store/redis"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
)

// storeURL is the URL of a database. It may hold a password, so it prints
// without. It is a string and takes any text, because the parser of flags quotes
// what it cannot decode; [place.check] says what is wrong, and repeats nothing.
type storeURL string

// String returns scheme, user, host and name of the database.
func (u storeURL) String() string {
	scheme, rest, found := strings.Cut(string(u), "://")
	if !found {
		return "[redacted]"
	}
	rest, _, _ = strings.Cut(rest, "?") // parameters may hold passwords too
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		user, _, _ := strings.Cut(rest[:at], ":")
		rest = user + rest[at:]
	}
	return scheme + "://" + rest
}

// GoString implements [fmt.GoStringer].
func (u storeURL) GoString() string { return u.String() }

// LogValue implements [slog.LogValuer].
func (u storeURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// scheme returns what comes before the colon.
func (u storeURL) scheme() string {
	scheme, _, found := strings.Cut(string(u), "://")
	if !found {
		return ""
	}
	return scheme
}

// passwords are what must not be printed of a URL, wherever somebody put it.
var passwords = regexp.MustCompile(`(?i)([a-z]+:/{1,2}[^\s:@/]*:)\S*@|((?:ssl)?password=)[^\s&"']+`)

// withoutPasswords hides passwords in the URLs of a text that was not ours.
func withoutPasswords(text string) string {
	return passwords.ReplaceAllStringFunc(text, func(match string) string {
		parts := passwords.FindStringSubmatch(match)
		switch {
		case strings.HasSuffix(match, ":password@"): // an example of how to write one
			return match
		case parts[2] != "":
			return parts[2] + "[redacted]"
		}
		return parts[1] + "[redacted]@"
	})
}

// The databases that we know, by the schemes of their URLs.
var (
	databaseSchemes = []string{"postgres", "postgresql"}
	sessionSchemes  = []string{"redis", "rediss"}
)

// place is where everything is kept.
type place struct {
	dir      string   // of the SQLite file, if there is no database
	database storeURL // empty: the SQLite file
	sessions storeURL // empty: the database
}

// sqlite reports whether the database is a file.
func (p place) sqlite() bool { return p.database == "" }

func (p place) file() string { return filepath.Join(p.dir, databaseName) }

// String says where the database is, for people.
func (p place) String() string {
	if p.sqlite() {
		return p.file()
	}
	return p.database.String()
}

// sessionsString says where the sessions are, for people.
func (p place) sessionsString() string {
	if p.sessions == "" {
		return p.String()
	}
	return p.sessions.String()
}

// flagNames are the flags that a place came from.
type flagNames struct{ data, database, sessions string }

var (
	hereFlags  = flagNames{"--data", "--database", "--sessions"}
	thereFlags = flagNames{"--to-data", "--to-database", "--to-sessions"}
)

// urlInPath is what remains of a URL that was taken for a directory.
var urlInPath = regexp.MustCompile(`(^|/)(postgres|postgresql|redis|rediss):/`)

// check refuses what is no place to keep anything in. It repeats nothing of a URL.
func (p place) check(flags flagNames) error {
	switch {
	case urlInPath.MatchString(filepath.ToSlash(p.dir)):
		return usage(fmt.Errorf("%s names a directory, and got a URL", flags.data),
			"a URL belongs into %s, or %s for redis", flags.database, flags.sessions)
	case p.database != "" && !slices.Contains(databaseSchemes, p.database.scheme()):
		return usage(fmt.Errorf("%s is no URL of a database", flags.database),
			"write postgres://user@host:5432/name; without %s it is a SQLite file in %s%s",
			flags.database, flags.data, redisBelongs(p.database, flags))
	case p.sessions != "" && !slices.Contains(sessionSchemes, p.sessions.scheme()):
		return usage(fmt.Errorf("%s is no URL of a store of sessions", flags.sessions),
			"write redis://host:6379, or rediss:// for TLS; without %s they are kept in the database", flags.sessions)
	}
	return nil
}

func redisBelongs(u storeURL, flags flagNames) string {
	if slices.Contains(sessionSchemes, u.scheme()) {
		return "; redis keeps sessions only: " + flags.sessions
	}
	return ""
}

// shelf is an open place.
type shelf struct {
	stores innkeeper.Stores
	// database is what lies below the sessions, if those are elsewhere.
	database innkeeper.Stores
	closers  []func() error
}

// open opens a place, creates what a first start needs, and brings the schema up
// to date.
func (p place) open(ctx context.Context, log *slog.Logger) (*shelf, error) {
	s := &shelf{}
	if err := s.openDatabase(ctx, p); err != nil {
		return nil, err
	}
	s.stores = s.database
	if p.sessions == "" {
		return s, nil
	}
	store, err := redis.Open(ctx, redis.Config{URL: string(p.sessions), Logger: log}, s.database)
	if err != nil {
		return nil, errors.Join(
			hint(err, "is the server of --sessions running, and does it let this machine in?"), s.close())
	}
	s.closers = append(s.closers, store.Close)
	s.stores = store.Stores()
	return s, nil
}

func (s *shelf) openDatabase(ctx context.Context, p place) error {
	if p.sqlite() {
		if err := makeDirectory(p.dir); err != nil {
			return err
		}
		store, err := sqlite.Open(ctx, sqlite.Config{Path: p.file()})
		if err != nil {
			return err
		}
		s.database, s.closers = store.Stores(), append(s.closers, store.Close)
		return nil
	}
	store, err := postgres.Open(ctx, postgres.Config{URL: string(p.database)})
	if err != nil {
		return err
	}
	s.database, s.closers = store.Stores(), append(s.closers, store.Close)
	return nil
}

// missing says that there is no database.
func (p place) missing() error {
	return hint(fmt.Errorf("there is no database in %s", p.dir),
		`--data names the directory that "innkeeper serve" uses; a database elsewhere is named with --database`)
}

// exists reports whether there is a database to open. A server always is; what it
// holds is another question.
func (p place) exists() bool {
	if !p.sqlite() {
		return true
	}
	_, err := os.Stat(p.file())
	return !errors.Is(err, fs.ErrNotExist)
}

// close closes what was opened last first: sessions stand on the database.
func (s *shelf) close() error {
	var err error
	for i := len(s.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, s.closers[i]())
	}
	return err
}
