package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// TestMain lets the test binary be the command, for scripts and for the other
// tests: "innkeeper" in $PATH is this program running main.
func TestMain(m *testing.M) {
	testscript.Main(withEngines{m}, map[string]func(){"innkeeper": main})
}

// withEngines closes the databases that tests have started.
type withEngines struct{ m *testing.M }

// Run implements the interface that testscript wants.
func (e withEngines) Run() int { return testengine.Main(e.m) }

// TestScript runs the stories in testdata/script. Beyond the commands of
// testscript they use those in commands, below. $ADDR is a free address and $URL
// the server on it; so are $ADDR2 and $URL2, for a second server.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands,
		Setup: func(env *testscript.Env) error {
			for _, suffix := range []string{"", "2"} {
				addr, err := testengine.FreeAddr()
				if err != nil {
					return err
				}
				env.Setenv("ADDR"+suffix, addr)
				env.Setenv("URL"+suffix, "http://localhost:"+addr[strings.LastIndex(addr, ":")+1:])
			}
			env.Values[lastAnswer{}] = new([]byte)
			env.Values[halfRequest{}] = new(net.Conn)
			return nil
		},
	})
}

// commands are those of the stories:
//
//	ready                       waits until the server at $URL answers
//	exits CODE PROGRAM ARG...   runs a program that must end with this code
//	http STATUS METHOD PATH [BODY] [NAME: VALUE]...
//	                            calls the server; its answer is stdout
//	await STATUS METHOD PATH [BODY] [NAME: VALUE]...
//	                            http until the status is that one
//	changes FILE PROGRAM ARG... runs a program until it prints something else
//	prints PATTERN PROGRAM ARG...
//	                            runs a program until a line of what it prints matches
//	repeats PROGRAM ARG...      runs a program until it prints twice the same
//	has TEXT FILE               waits until a file has a text
//	kid STATE NAME              sets $NAME to the signing key that has come so far
//	undelivered HOOK DELIVERY   waits until a delivery has failed, and sets both to its ids
//	published KID               waits until another key than this is next
//	standing STANDING NAME      sets $NAME to the root key that has this standing
//	rewrapped ID                waits until all signing keys are under this root key
//	capture MEMBER NAME         takes a member of the last answer: session.id
//	secret NAME                 sets $NAME to the secret that "service add" has printed as
//	                            JSON, and $NAME_ID to its id
//	same-json VALUE             compares stdout with a value
//	begin METHOD PATH BODY      sends a request but for its last byte, and waits until the
//	                            server asks for the body
//	refused                     checks that nobody can connect any more
//	finish STATUS               sends that byte and reads the answer
//	postgres NAME [USER]        sets $NAME to the URL of a new PostgreSQL database, and
//	                            $NAME_USER to the same for another user
//	sql URL STATEMENT           runs a statement in a PostgreSQL database
//	redis NAME                  sets $NAME to the URL of an empty Redis database
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"ready":       ready,
	"exits":       exits,
	"http":        httpCommand,
	"await":       await,
	"changes":     changes,
	"prints":      prints,
	"repeats":     repeats,
	"has":         has,
	"kid":         kid,
	"published":   published,
	"standing":    standing,
	"rewrapped":   rewrapped,
	"capture":     capture,
	"secret":      secret,
	"same-json":   sameJSON,
	"begin":       begin,
	"refused":     refused,
	"finish":      finish,
	"postgres":    postgresCommand,
	"sql":         sqlCommand,
	"redis":       redisCommand,
	"undelivered": undelivered,
}

type (
	lastAnswer  struct{}
	halfRequest struct{}
)

// engineUser starts engines for a script.
type engineUser struct{ *testscript.TestScript }

// Helper implements [testengine.TB]: a script shows the line that failed anyway.
func (engineUser) Helper() {}

func postgresCommand(ts *testscript.TestScript, _ bool, args []string) {
	database, err := testengine.SharedPostgres(engineUser{ts}).CreateDatabase(context.Background())
	ts.Check(err)
	ts.Setenv(args[0], database)
	if len(args) > 1 {
		ts.Setenv(args[0]+"_USER", strings.Replace(database, "innkeeper@", args[1]+"@", 1))
	}
}

func sqlCommand(ts *testscript.TestScript, _ bool, args []string) {
	psql := filepath.Join(testengine.SharedPostgres(engineUser{ts}).BinDir(), "psql")
	ts.Check(ts.Exec(psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command="+args[1], args[0]))
}

// redisDatabases counts the numbered databases that were given out, of which a
// Redis server has sixteen.
var redisDatabases atomic.Int32

func redisCommand(ts *testscript.TestScript, _ bool, args []string) {
	number := redisDatabases.Add(1)
	if number > 15 {
		ts.Fatalf("the Redis server has no more databases: share one between scripts")
	}
	ts.Setenv(args[0], fmt.Sprintf("%s/%d", testengine.SharedRedis(engineUser{ts}).URL(), number))
}

func ready(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(waitReady(ts.Getenv("URL")))
}

// waitReady waits until the server at a URL is ready.
func waitReady(serverURL string) error {
	var last error
	for range 500 {
		resp, err := http.Get(serverURL + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		last = err
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("server is not ready: %w", last)
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func httpCommand(ts *testscript.TestScript, _ bool, args []string) {
	answered(ts, send(ts, args[1:]), args[0]) //nolint:bodyclose // answered closes it
}

// send sends the request of a line of the story.
func send(ts *testscript.TestScript, args []string) *http.Response {
	method, path, rest := args[0], args[1], args[2:]
	body := ""
	if len(rest) > 0 && (rest[0] == "" || strings.HasPrefix(rest[0], "{")) {
		body, rest = rest[0], rest[1:]
	}
	req, err := http.NewRequest(method, ts.Getenv("URL")+path, strings.NewReader(body))
	ts.Check(err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, header := range rest {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	return resp
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	for range 500 {
		resp := send(ts, args[1:])
		if strconv.Itoa(resp.StatusCode) == args[0] {
			answered(ts, resp, args[0])
			return
		}
		resp.Body.Close()
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%v never gave %s", args[1:], args[0])
}

func changes(ts *testscript.TestScript, _ bool, args []string) {
	before := ts.ReadFile(args[0])
	for range 500 {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if ts.ReadFile("stdout") != before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%v always prints the same", args[1:])
}

// prints is for programs that do as much as they can in a time: a machine that stands
// still for all of it gives them another.
func prints(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for range 20 {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("%v never prints %s", args[1:], args[0])
}

// repeats is for what changes now and then by itself.
func repeats(ts *testscript.TestScript, _ bool, args []string) {
	before := ""
	for range 20 {
		ts.Check(ts.Exec(args[0], args[1:]...))
		now := ts.ReadFile("stdout")
		if now == before {
			return
		}
		before = now
	}
	ts.Fatalf("%v always prints something else", args)
}

func has(ts *testscript.TestScript, _ bool, args []string) {
	for range 1000 {
		text, err := os.ReadFile(ts.MkAbs(args[1]))
		if err == nil && strings.Contains(string(text), args[0]) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s never had %s", args[1], args[0])
}

// signingKeys are those of the database in innkeeper-data, by their states.
func signingKeys(ts *testscript.TestScript) map[string]string {
	ts.Check(ts.Exec("innkeeper", "key", "list", "--output", "json"))
	var keys []keyObject
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &keys))
	found := make(map[string]string)
	for _, key := range keys {
		found[key.State] = key.KeyID
	}
	return found
}

// undelivered waits until something could not be delivered to a webhook.
func undelivered(ts *testscript.TestScript, _ bool, args []string) {
	list := func(into any, command ...string) {
		ts.Check(ts.Exec("innkeeper", append(command, "--output", "json")...))
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), into))
	}
	for range 100 {
		var hooks []webhookObject
		list(&hooks, "webhook", "list")
		for _, hook := range hooks {
			var deliveries []deliveryObject
			list(&deliveries, "webhook", "deliveries", hook.ID)
			if len(deliveries) > 0 {
				ts.Setenv(args[0], hook.ID)
				ts.Setenv(args[1], deliveries[0].ID)
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("everything was delivered")
}

func kid(ts *testscript.TestScript, _ bool, args []string) {
	id, ok := signingKeys(ts)[args[0]]
	if !ok {
		ts.Fatalf("no key is %s", args[0])
	}
	ts.Setenv(args[1], id)
}

func published(ts *testscript.TestScript, _ bool, args []string) {
	for range 300 {
		if id, ok := signingKeys(ts)["published"]; ok && id != args[0] {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("no other key was published")
}

func standing(ts *testscript.TestScript, _ bool, args []string) {
	file, err := openRootKeyFile(ts.MkAbs("innkeeper-data/root.key"))
	ts.Check(err)
	key := file.in(rootkey.Standing(args[0]))
	if key == nil {
		ts.Fatalf("no root key is %s", args[0])
	}
	ts.Setenv(args[1], key.ID().String())
}

func rewrapped(ts *testscript.TestScript, _ bool, args []string) {
	place := place{dir: ts.MkAbs("innkeeper-data")}
	ts.Check(waitRewrapped(place, args[0]))
}

// waitRewrapped waits until all signing keys are encrypted under one root key.
func waitRewrapped(here place, id string) error {
	s, err := here.open(context.Background(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = s.close() }()
	for range 500 {
		records, err := s.stores.Keys.SigningKeys(context.Background())
		if err != nil {
			return err
		}
		under := 0
		for _, rec := range records {
			if got, ok := rootkey.WrappedUnder(rec.Wrapped); ok && got.String() == id {
				under++
			}
		}
		if under == len(records) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("not all signing keys are under %s", id)
}

// answered checks the status of an answer, shows it and keeps it for capture.
func answered(ts *testscript.TestScript, resp *http.Response, status string) {
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	for name, values := range resp.Header {
		for _, value := range values {
			fmt.Fprintf(ts.Stdout(), "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(ts.Stdout(), "%s\n", answer)
	*ts.Value(lastAnswer{}).(*[]byte) = answer
	if strconv.Itoa(resp.StatusCode) != status {
		ts.Fatalf("status %d, want %s: %s", resp.StatusCode, status, answer)
	}
}

func capture(ts *testscript.TestScript, _ bool, args []string) {
	answer := json.RawMessage(*ts.Value(lastAnswer{}).(*[]byte))
	for _, member := range strings.Split(args[0], ".") {
		var object map[string]json.RawMessage
		ts.Check(json.Unmarshal(answer, &object))
		answer = object[member]
	}
	var text string
	if json.Unmarshal(answer, &text) != nil {
		text = string(answer)
	}
	ts.Setenv(args[1], text)
}

func secret(ts *testscript.TestScript, _ bool, args []string) {
	var added struct{ ID, Secret string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &added))
	ts.Setenv(args[0], added.Secret)
	ts.Setenv(args[0]+"_ID", added.ID)
}

func sameJSON(ts *testscript.TestScript, _ bool, args []string) {
	var got, want any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &got))
	ts.Check(json.Unmarshal([]byte(args[0]), &want))
	if !reflect.DeepEqual(got, want) {
		ts.Fatalf("got %v\nwant %v", got, want)
	}
}

func begin(ts *testscript.TestScript, _ bool, args []string) {
	addr, err := url.Parse(ts.Getenv("URL"))
	ts.Check(err)
	conn, err := net.Dial("tcp", addr.Host)
	ts.Check(err)
	ts.Defer(func() { conn.Close() })
	ts.Check(conn.SetDeadline(time.Now().Add(time.Minute)))
	body := args[2]
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s",
		args[0], args[1], addr.Host, len(body), body[:len(body)-1])
	ts.Check(err)
	// It says so when it reads the body: then the request has begun (RFC 9110 section 10.1.1).
	const goOn = "HTTP/1.1 100 Continue\r\n\r\n"
	interim := make([]byte, len(goOn))
	_, err = io.ReadFull(conn, interim)
	ts.Check(err)
	if string(interim) != goOn {
		ts.Fatalf("the server answers %q before it has the body", interim)
	}
	*ts.Value(halfRequest{}).(*net.Conn) = conn
	ts.Setenv("LAST_BYTE", body[len(body)-1:])
}

func refused(ts *testscript.TestScript, _ bool, _ []string) {
	addr := ts.Getenv("ADDR")
	for range 3000 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("the server still accepts connections")
}

func finish(ts *testscript.TestScript, _ bool, args []string) {
	conn := *ts.Value(halfRequest{}).(*net.Conn)
	_, err := io.WriteString(conn, ts.Getenv("LAST_BYTE"))
	ts.Check(err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	ts.Check(err)
	answered(ts, resp, args[0])
}

// TestNearest keeps the suggestions sensible.
func TestNearest(t *testing.T) {
	known := []string{"access-ttl", "session-ttl", "listen", "alg"}
	for name, want := range map[string]string{
		"access-tll": "access-ttl", "acces-ttl": "access-ttl", "sesion-ttl": "session-ttl",
		"lisen": "listen", "algo": "alg", "metrics-listen": "", "x": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestPrintable keeps strangers from writing to the terminal.
func TestPrintable(t *testing.T) {
	var out bytes.Buffer
	writeRow(&out, "Ada's phone", "\x1b[31mred\ttab", "")
	if got, want := out.String(), "Ada's phone\t\ufffd[31mred\ufffdtab\t-\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
