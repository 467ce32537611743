package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/password"
)

// TestImportSurvivesAKill imports mixed hashes, kills the process half-way without a
// warning, and runs it again, beside a running server: nobody is lost and nobody
// doubled. Then users of each kind sign in, and have hashes of ours. STANDARDS W5.
//
// IMPORT_USERS=100000 is the full size; docs/import.md has the figures.
func TestImportSurvivesAKill(t *testing.T) {
	t.Parallel()
	total := 3_000
	if text := os.Getenv("IMPORT_USERS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		total = n
	}
	users := newMixedUsers(t, total)
	t.Run("sqlite", func(t *testing.T) { users.survive(t, newServer(t), nil) })
	t.Run("postgres", func(t *testing.T) {
		database, err := testengine.SharedPostgres(t).CreateDatabase(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		there := []string{"--database", database}
		s := newServer(t, there...)
		s.run("", "rootkey", "new", s.data("root.key"))
		users.survive(t, s, there)
	})
}

// survive imports the users beside a server, with a kill.
func (m *mixedUsers) survive(t *testing.T, s *server, there []string) {
	s.start()
	file := filepath.Join(s.dir, "users.jsonl")
	if err := os.WriteFile(file, bytes.Join(m.lines, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	m.importHalf(t, s, there)
	killedAfter := time.Since(start)
	store := openStores(t, s, there)
	half := len(allUsers(t, store))
	if half == 0 || half >= len(m.lines) {
		t.Fatalf("%d of %d users when it was killed: that proves nothing", half, len(m.lines))
	}

	start = time.Now()
	resumed, cpu := importFile(t, s, there, file)
	took := time.Since(start)
	if resumed.Imported != int64(len(m.lines)-half) || resumed.Present != int64(half) || resumed.Rejected != 0 || resumed.Lines != int64(len(m.lines)) {
		t.Fatalf("with %d of %d there: %+v", half, len(m.lines), resumed)
	}
	again, _ := importFile(t, s, there, file)
	if again.Imported != 0 || again.Present != int64(len(m.lines)) {
		t.Fatalf("once more: %+v", again)
	}
	m.compare(t, store)
	t.Logf("killed after %s with %d of %d users; the rest took %s, %d a second, and %s of CPU", killedAfter.Round(time.Millisecond), half, len(m.lines),
		took.Round(time.Millisecond), int(float64(len(m.lines)-half)/took.Seconds()), cpu.Round(time.Millisecond))
	m.signIn(t, s, store)
	if after, _ := importFile(t, s, there, file); after.Imported != 0 || after.Rejected != 0 {
		t.Errorf("after some of them have signed in: %+v", after)
	}
}

// importHalf feeds the lines through a pipe, and kills the import when half of them
// have gone in: some thousand are on their way then.
func (m *mixedUsers) importHalf(t *testing.T, s *server, there []string) {
	t.Helper()
	cmd := s.command(append([]string{"user", "import", "-"}, there...)...)
	pipe, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, line := range m.lines[:len(m.lines)/2] {
		if _, err := pipe.Write(line); err != nil {
			t.Fatalf("%v\n%s", err, s.out)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	if cmd.ProcessState.Exited() {
		t.Fatalf("it ended before it was killed\n%s", s.out)
	}
}

// importFile runs an import that must not reject anything, and says what it took.
func importFile(t *testing.T, s *server, there []string, file string) (done importedObject, cpu time.Duration) {
	t.Helper()
	cmd := exec.Command("innkeeper", append([]string{"user", "import", file, "--output", "json"}, there...)...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &out, s.out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, s.out)
	}
	if err := json.Unmarshal(out.Bytes(), &done); err != nil {
		t.Fatal(err)
	}
	return done, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func openStores(t *testing.T, s *server, there []string) innkeeper.Stores {
	t.Helper()
	here := place{dir: s.data("")}
	if len(there) > 0 {
		here.database = storeURL(there[1])
	}
	shelf, err := here.open(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shelf.close() })
	return shelf.stores
}

func allUsers(t *testing.T, stores innkeeper.Stores) (all []innkeeper.User) {
	t.Helper()
	for after := ""; ; {
		page, err := stores.Users.Users(t.Context(), innkeeper.UserQuery{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].Username
	}
}

// compare finds every user once, with the hash of their line, and one event each.
func (m *mixedUsers) compare(t *testing.T, stores innkeeper.Stores) {
	t.Helper()
	seen := make(map[innkeeper.UserID]bool)
	for _, user := range allUsers(t, stores) {
		number, err := strconv.Atoi(strings.TrimPrefix(user.Username, "guest"))
		if err != nil || number >= len(m.lines) || seen[user.ID] {
			t.Fatalf("a user too many: %+v", user)
		}
		seen[user.ID] = true
		want, _, err := password.Import(m.hash(number).encoded)
		if err != nil || user.PasswordHash != want || user.Email != fmt.Sprintf("guest%d@example.com", number) || user.Disabled {
			t.Fatalf("user %d is %+v, want %s", number, user, want)
		}
	}
	if len(seen) != len(m.lines) {
		t.Fatalf("%d users, want %d", len(seen), len(m.lines))
	}
	created := 0
	for after := int64(0); ; {
		page, err := stores.Events.Events(t.Context(), innkeeper.EventQuery{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, event := range page {
			if event.Kind == innkeeper.EventUserCreated && event.Detail["imported_hash"] != "" && seen[event.UserID] {
				created++
				delete(seen, event.UserID)
			}
		}
		after = page[len(page)-1].Seq
	}
	if created != len(m.lines) {
		t.Fatalf("%d users have an event, want %d", created, len(m.lines))
	}
}

// signIn signs in one user with each hash, over HTTP, and looks at what is stored then.
func (m *mixedUsers) signIn(t *testing.T, s *server, stores innkeeper.Stores) {
	t.Helper()
	login := func(name, plain string) int {
		t.Helper()
		answer, err := s.call(http.DefaultClient, "POST", "/auth/login", map[string]string{"username": name, "password": plain, "delivery": "body"})
		if err != nil {
			t.Fatal(err)
		}
		return answer.status
	}
	for number := range m.hashes {
		name, kind := fmt.Sprintf("guest%d", number), m.hash(number)
		if got := login(name, kind.plain+"?"); got != http.StatusUnauthorized {
			t.Errorf("%s (%s) with a wrong password: %d", name, kind.encoded, got)
		}
		for range 2 { // by the foreign hash, and by ours
			if got := login(name, kind.plain); got != http.StatusOK {
				t.Errorf("%s (%s): %d", name, kind.encoded, got)
			}
			user, err := stores.Users.UserByUsername(context.WithoutCancel(t.Context()), name)
			if err != nil || !strings.HasPrefix(user.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
				t.Errorf("%s is stored as %s, %v", name, user.PasswordHash, err)
			}
		}
	}
	t.Logf("%d users signed in, each with another hash, and have argon2id now", len(m.hashes))
}

// mixedUsers are users of many other programs.
type mixedUsers struct {
	lines  [][]byte
	hashes []mixedHash
}

type mixedHash struct{ plain, encoded string }

func (m *mixedUsers) hash(number int) mixedHash { return m.hashes[number%len(m.hashes)] }

// newMixedUsers makes users with hashes of each kind. The hashes are cheap, and there
// are few of them: an import does not compute any.
func newMixedUsers(t *testing.T, total int) *mixedUsers {
	t.Helper()
	m := &mixedUsers{}
	// Most of these would not be accepted as new passwords; to sign in they are fine.
	for n, plain := range []string{"password", "Pässwörd 1", testPassword} {
		for _, make := range foreignHashes {
			encoded, err := make(plain, fmt.Sprintf("salt of number %d", n))
			if err != nil {
				t.Fatal(err)
			}
			m.hashes = append(m.hashes, mixedHash{plain, encoded})
		}
	}
	for number := range total {
		line, err := json.Marshal(map[string]any{
			"username": fmt.Sprintf("Guest%d", number), "email": fmt.Sprintf("guest%d@example.com", number), "password_hash": m.hash(number).encoded,
		})
		if err != nil {
			t.Fatal(err)
		}
		m.lines = append(m.lines, append(line, '\n'))
	}
	return m
}

// foreignHashes make hashes as other programs do.
var foreignHashes = []func(plain, salt string) (string, error){
	func(plain, _ string) (string, error) { // Auth0, Devise, Supabase
		hash, err := bcrypt.GenerateFromPassword([]byte(plain), 5)
		return string(hash), err
	},
	func(plain, _ string) (string, error) { // PHP
		hash, err := bcrypt.GenerateFromPassword([]byte(plain), 4)
		return "$2y" + string(hash[3:]), err
	},
	func(plain, salt string) (string, error) { // Django
		return djangoPBKDF2("sha256", sha256.New, plain, salt)
	},
	func(plain, salt string) (string, error) {
		return djangoPBKDF2("sha1", sha1.New, plain, salt)
	},
	func(plain, salt string) (string, error) { // Keycloak
		tag, err := pbkdf2.Key(sha512.New, plain, []byte(salt), 2100, 64)
		return fmt.Sprintf("$pbkdf2-sha512$i=2100$%s$%s", padded(salt), base64.StdEncoding.EncodeToString(tag)), err
	},
	func(plain, salt string) (string, error) {
		tag, err := scrypt.Key([]byte(plain), []byte(salt), 1<<10, 8, 1, 32)
		return fmt.Sprintf("$scrypt$ln=10,r=8,p=1$%s$%s", unpadded([]byte(salt)), unpadded(tag)), err
	},
	func(plain, salt string) (string, error) { // Django
		tag, err := scrypt.Key([]byte(plain), []byte(salt), 1<<10, 8, 5, 64)
		return fmt.Sprintf("scrypt$1024$%s$8$5$%s", salt, base64.StdEncoding.EncodeToString(tag)), err
	},
	func(plain, salt string) (string, error) {
		return fmt.Sprintf("$argon2i$v=19$m=512,t=3,p=2$%s$%s", unpadded([]byte(salt)), unpadded(argon2.Key([]byte(plain), []byte(salt), 3, 512, 2, 24))), nil
	},
	func(plain, salt string) (string, error) {
		return fmt.Sprintf("$argon2id$v=19$m=1024,t=1,p=1$%s$%s", unpadded([]byte(salt)), unpadded(argon2.IDKey([]byte(plain), []byte(salt), 1, 1024, 1, 32))), nil
	},
	firebaseHash,
}

func djangoPBKDF2(name string, digest func() hash.Hash, plain, salt string) (string, error) {
	tag, err := pbkdf2.Key(digest, plain, []byte(salt), 1000, digest().Size())
	return fmt.Sprintf("pbkdf2_%s$1000$%s$%s", name, salt, base64.StdEncoding.EncodeToString(tag)), err
}

func padded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func unpadded(raw []byte) string { return base64.RawStdEncoding.EncodeToString(raw) }

// firebaseHash makes a hash of a project as Firebase does, and as Supabase writes it.
func firebaseHash(plain, salt string) (string, error) {
	signer, separator := bytes.Repeat([]byte("signer"), 8), []byte{7}
	key, err := scrypt.Key([]byte(plain), append([]byte(salt), separator...), 1<<8, 8, 1, 32)
	if err != nil {
		return "", err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", err
	}
	tag := make([]byte, len(signer))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(tag, signer)
	return fmt.Sprintf("$fbscrypt$v=1,n=8,r=8,p=1,ss=%s,sk=%s$%s$%s",
		padded(string(separator)), padded(string(signer)), padded(salt), padded(string(tag))), nil
}
