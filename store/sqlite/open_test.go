package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/sqlite"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

func TestWhatIsWrittenSurvivesARestart(t *testing.T) {
	path := newPath(t)
	store := open(t, path)
	user := storetest.NewUser("ada", innkeeper.RoleAdmin)
	if err := store.Stores().Users.CreateUser(t.Context(), user, innkeeper.Event{}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	got, err := again.Stores().Users.User(t.Context(), user.ID)
	if err != nil || got.Username != "ada" {
		t.Fatalf("got user %q and error %v", got.Username, err)
	}
}

func TestOpenMakesTheFileForItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no mode here")
	}
	dir := filepath.Join(t.TempDir(), "a b?c=d&e#f%25+g") // all that a URI treats in its own way
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	open(t, filepath.Join(dir, "inn%20keeper?.db"))
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, file.Name())
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %s", file.Name(), info.Mode())
		}
	}
	want := "inn%20keeper?.db inn%20keeper?.db-shm inn%20keeper?.db-wal"
	if got := strings.Join(names, " "); got != want {
		t.Fatalf("the directory holds %s, want %s", got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	garbage := newPath(t)
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"no path":            "",
		"a directory":        t.TempDir(),
		"a lost directory":   filepath.Join(t.TempDir(), "lost", "innkeeper.db"),
		"some other file":    garbage,
		"a lost directory 2": filepath.Join(garbage, "innkeeper.db"),
	} {
		store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
		if err == nil {
			t.Errorf("%s: opened", name)
			_ = store.Close()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlite.Open(ctx, sqlite.Config{Path: newPath(t)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	path := newPath(t)
	store := open(t, path)
	store.Exec(t, `insert into goose_db_version (version_id, is_applied) values (4711, 1)`)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if !errors.Is(err, sqlite.ErrNewerSchema) || !strings.Contains(err.Error(), "4711") {
		t.Fatalf("got error %v, want %v", err, sqlite.ErrNewerSchema)
	}
}

func TestCloseIsForGood(t *testing.T) {
	storetest.CloseIsForGood(t, open(t, newPath(t)), sqlite.ErrClosed)
}

// Several stores in one process open a file that does not exist yet.
func TestOpenAtOnce(t *testing.T) {
	path := newPath(t)
	storetest.OpenAtOnce(t, func(ctx context.Context) (storetest.Store, error) {
		return sqlite.Open(ctx, sqlite.Config{Path: path})
	})
}

// A child is a copy of the test binary that works on the database of its parent.
const (
	childTask = "INNKEEPER_TEST_CHILD_TASK" // unset: this is no child
	childPath = "INNKEEPER_TEST_CHILD_DATABASE"
	childName = "INNKEEPER_TEST_CHILD_NAME"
)

func child(t *testing.T, task, path, name string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childTask+"="+task, childPath+"="+path, childName+"="+name)
	return cmd
}

func TestChild(t *testing.T) {
	task, path, name := os.Getenv(childTask), os.Getenv(childPath), os.Getenv(childName)
	switch task {
	case "":
		t.Skip("started by no parent")
	case "work":
		won, err := storetest.Work(t.Context(), open(t, path).Stores(), name)
		if err != nil {
			t.Fatal(err)
		}
		if won {
			fmt.Println("made the keys")
		}
	case "create users":
		users := open(t, path).Stores().Users
		for i := 0; ; i++ {
			user := storetest.NewUser(fmt.Sprint(i))
			if err := users.CreateUser(t.Context(), user, innkeeper.Event{}); err != nil {
				t.Fatal(err)
			}
			fmt.Println("created", user.Username)
		}
	}
}

// The same with processes, which only have the file in common.
func TestOpenInProcessesAtOnce(t *testing.T) {
	path := newPath(t)
	const children = 5
	var wg sync.WaitGroup
	var winners atomic.Int32
	for i := range children {
		wg.Go(func() {
			out, err := child(t, "work", path, fmt.Sprintf("child%d", i)).CombinedOutput()
			if err != nil {
				t.Errorf("child %d: %v\n%s", i, err, out)
			}
			if strings.Contains(string(out), "made the keys") {
				winners.Add(1)
			}
		})
	}
	wg.Wait()
	storetest.CheckWork(t, open(t, path).Stores(), children, int(winners.Load()))
}

// A process that is killed in the middle of its work leaves behind all that it
// has answered.
func TestCrashLosesNothingThatWasAnswered(t *testing.T) {
	path := newPath(t)
	cmd := child(t, "create users", path, "")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var created []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "created "); ok {
			created = append(created, name)
		}
		if len(created) == 100 {
			_ = cmd.Process.Kill() // and read on: more may have been answered
		}
	}
	_ = cmd.Wait() // it was killed
	if len(created) < 100 {
		t.Fatalf("the child created %d users", len(created))
	}
	users := open(t, path).Stores().Users
	for _, name := range created {
		if _, err := users.UserByUsername(t.Context(), name); err != nil {
			t.Errorf("user %s of %d: %v", name, len(created), err)
		}
	}
}
