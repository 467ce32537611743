package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/innkeeper-auth/innkeeper/internal/load"
)

type benchCommand struct {
	URL               string        `arg:"" help:"where the server is, like http://localhost:8080"`
	Scenario          load.Scenario `env:"-" enum:"login,refresh,verify,mixed" default:"refresh" help:"what the clients do: login, refresh, verify or mixed, see above"`
	Clients           int           `env:"-" default:"16" help:"clients at once; each has a session and a connection of its own"`
	Duration          time.Duration `env:"-" default:"10s" help:"how long is measured"`
	WarmUp            time.Duration `env:"-" default:"2s" help:"unmeasured beginning"`
	Username          string        `env:"-" required:"" placeholder:"USER" help:"user that all clients sign in as"`
	PasswordStdin     bool          `env:"-" help:"read the password from standard input, one line"`
	BenchPassword     string        `hidden:"" help:"the password; only in the environment"`
	YesIOwnThisServer bool          `name:"yes-i-own-this-server" env:"-" help:"put a server on another machine under load; over http, that sends the password in clear"`
	JSON              bool          `name:"json" env:"-" help:"the same as --output json"`
	Output            outputFlags   `embed:""`

	base *url.URL
}

// Help is shown above the flags.
func (*benchCommand) Help() string {
	return `Puts a running server under load and says how fast it answers. Each client sends its next request when it has the answer to its last. The scenarios:

  refresh  each client rotates its session, with an idempotency key
  login    each client signs in and logs that session out again
  verify   each client shows its access token to GET /auth/me
  mixed    verify, but every 20th request is a refresh, and every 1000th a logout with a sign-in after it

Make a user for it. The password is asked for at the terminal, read with --password-stdin, or taken from the environment, INNKEEPER_BENCH_PASSWORD. Signing in is not measured but in login and mixed. The clients do more than a server allows: start the one to be measured with --sign-in-limits off --refresh-limit 0. At the end all clients log out. Ctrl-C ends the run early and shows what was measured so far.

It fails if any request did. A client that is told to wait waits, a second at most, and tries again with the same token and the same key.`
}

const maxBenchClients = 10_000

// Validate implements kong's check.
func (c *benchCommand) Validate(parsed *kong.Context) error {
	for _, path := range parsed.Path {
		if path.Flag != nil && path.Flag.Name == "bench-password" && !path.Resolved {
			return usage(errors.New("a password is never an argument, which everyone on the machine can see"),
				"pipe it in with --password-stdin, or set INNKEEPER_BENCH_PASSWORD")
		}
	}
	switch {
	case c.Clients < 1 || c.Clients > maxBenchClients:
		return usage(fmt.Errorf("--clients %d: choose 1 to %d", c.Clients, maxBenchClients), "a few times as many as the server has cores is where it is fastest")
	case c.Duration <= 0 || c.WarmUp < 0:
		return usage(errors.New("--duration must be more than 0, and --warm-up not less"), "for example --duration 30s --warm-up 5s")
	}
	if c.JSON {
		c.Output.Output = "json"
	}
	return c.parseURL()
}

func (c *benchCommand) parseURL() error {
	base, err := url.Parse(c.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" ||
		base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return usage(fmt.Errorf("%q is no address of a server", printable(c.URL)), "give the URL that it listens on, like http://localhost:8080")
	}
	if !isLoopback(base.Hostname()) && !c.YesIOwnThisServer {
		return usage(fmt.Errorf("%s is another machine, and this would put it under load", base.Host),
			"run the command there; or, if it is yours, say so with --yes-i-own-this-server")
	}
	c.base = base
	return nil
}

// Run puts the server under load.
func (c *benchCommand) Run(ctx context.Context, std *stdio) (err error) {
	plain, err := c.password(ctx, std)
	if err != nil {
		return err
	}
	sessions := load.NewSessions(load.Target{URL: c.base, Username: c.Username, Password: load.Password(plain)}, c.Clients)
	line := newStatusLine(std.err)
	// Whatever happens, nobody stays signed in: not even after ctrl-c.
	defer func() { err = errors.Join(err, c.logOut(context.WithoutCancel(ctx), sessions)) }()
	err = load.SignIn(ctx, sessions, func(done int) { line.show("signing in: %d of %d", done, c.Clients) })
	line.clear()
	if err != nil {
		return c.explainSignIn(err)
	}
	result := load.Run(ctx, c.Scenario.Clients(sessions), load.Options{
		WarmUp: c.WarmUp, Duration: c.Duration, Progress: c.progress(line),
	})
	line.clear()
	if ctx.Err() != nil && len(result.Steps) == 0 {
		return ctx.Err()
	}
	object := c.objectOf(result)
	if err := c.Output.print(std.out, object, object.write); err != nil {
		return err
	}
	if result.Err != nil {
		return hint(fmt.Errorf("%d requests failed, the first with: %w", object.All.Failed, result.Err),
			"the server's log may say more")
	}
	return nil
}

// password returns the password of the user. It exists already, so a person is
// asked for it once.
func (c *benchCommand) password(ctx context.Context, std *stdio) (string, error) {
	switch {
	case c.PasswordStdin:
		return readPassword(std.in)
	case c.BenchPassword != "":
		return c.BenchPassword, nil
	case !term.IsTerminal(int(std.in.Fd())):
		return "", usage(errors.New("there is no terminal to ask for the password on"),
			"pipe it in with --password-stdin, or set INNKEEPER_BENCH_PASSWORD")
	}
	return askPassword(ctx, std, "password of "+printable(c.Username)+": ")
}

// logOutTimeout bounds the end, for a server that answers no longer.
const logOutTimeout = 30 * time.Second

func (c *benchCommand) logOut(ctx context.Context, sessions []*load.Session) error {
	ctx, cancel := context.WithTimeout(ctx, logOutTimeout)
	defer cancel()
	err := load.LogOut(ctx, sessions)
	if err != nil {
		return hint(err, "end them beside the server: innkeeper session end --user %s", printable(c.Username))
	}
	return nil
}

// explainSignIn says what to do when nobody could sign in.
func (c *benchCommand) explainSignIn(err error) error {
	var failure *load.Failure
	if !errors.As(err, &failure) {
		return err
	}
	err = fmt.Errorf("sign in as %s: %w", printable(c.Username), err)
	switch {
	case failure.Kind == "401 invalid_credentials":
		return hint(err, "is this the user's password? innkeeper user add makes a user, innkeeper user password sets one's password")
	case failure.Status == 0:
		return hint(err, "is the server running, and at this address? innkeeper serve starts one")
	case failure.Status == http.StatusTooManyRequests:
		return hint(err, "the server slows clients down; for a measurement, start it with --sign-in-limits off --refresh-limit 0")
	case failure.Status == http.StatusServiceUnavailable:
		return hint(err, "the server was busy all the time; wait, or take fewer --clients")
	}
	return hint(err, "give the URL of an innkeeper server, with the path that a proxy puts in front of /auth")
}

// progress shows what happens on one line.
func (c *benchCommand) progress(line *statusLine) func(load.Result) {
	return func(result load.Result) {
		all := result.Total()
		if result.Elapsed == 0 {
			line.show("warming up, %d failed", all.Failed())
			return
		}
		line.show("%s of %s: %.0f requests/s, p99 %.2fms, %d failed",
			result.Elapsed.Round(time.Second), c.Duration, all.PerSecond(), milliseconds(all.Latencies.Quantile(.99)), all.Failed())
	}
}

// benchObject is the result of a run.
type benchObject struct {
	URL        string            `json:"url"`
	Scenario   string            `json:"scenario"`
	Clients    int               `json:"clients"`
	WarmUp     float64           `json:"warm_up_s"`
	Duration   float64           `json:"duration_s"`
	Elapsed    float64           `json:"elapsed_s"` // measured; less than the duration if it was cut short
	CutShort   bool              `json:"cut_short"`
	All        benchStepObject   `json:"all"`
	Steps      []benchStepObject `json:"steps"`
	FirstError string            `json:"first_error,omitempty"`
}

// benchStepObject is what was measured of one kind of request. Latencies and
// rates are those of the requests that did not fail.
type benchStepObject struct {
	Step      string            `json:"step"`
	Requests  uint64            `json:"requests"`
	PerSecond float64           `json:"per_second"`
	P50       float64           `json:"p50_ms"`
	P90       float64           `json:"p90_ms"`
	P99       float64           `json:"p99_ms"`
	P999      float64           `json:"p999_ms"`
	Max       float64           `json:"max_ms"`
	Failed    uint64            `json:"failed"`
	Failures  map[string]uint64 `json:"failures"`
}

func (c *benchCommand) objectOf(result load.Result) *benchObject {
	all := result.Total()
	object := &benchObject{
		URL: c.base.String(), Scenario: string(c.Scenario), Clients: c.Clients,
		WarmUp: c.WarmUp.Seconds(), Duration: c.Duration.Seconds(), Elapsed: rounded(result.Elapsed.Seconds()),
		CutShort: result.CutShort, All: benchStepOf(&all), Steps: []benchStepObject{},
	}
	for i := range result.Steps {
		object.Steps = append(object.Steps, benchStepOf(&result.Steps[i]))
	}
	if result.Err != nil {
		object.FirstError = result.Err.Error()
	}
	return object
}

func benchStepOf(step *load.Step) benchStepObject {
	ms := func(d time.Duration) float64 { return rounded(milliseconds(d)) }
	h := &step.Latencies
	return benchStepObject{
		Step: step.Name, Requests: h.Count(), PerSecond: rounded(step.PerSecond()),
		P50: ms(h.Quantile(.5)), P90: ms(h.Quantile(.9)), P99: ms(h.Quantile(.99)), P999: ms(h.Quantile(.999)), Max: ms(h.Max()),
		Failed: step.Failed(), Failures: step.Failures,
	}
}

// rounded keeps three digits after the point.
func rounded(f float64) float64 { return math.Round(f*1000) / 1000 }

// write writes the tables.
func (o *benchObject) write(w io.Writer) {
	fmt.Fprintf(w, "%s: %d clients for %gs after %gs of warm-up, %s\n", o.Scenario, o.Clients, o.Duration, o.WarmUp, o.URL)
	if o.CutShort {
		fmt.Fprintf(w, "cut short: this was measured in %.1fs\n", o.Elapsed)
	}
	fmt.Fprintln(w)
	writeRow(w, "STEP", "REQUESTS", "PER SECOND", "P50", "P90", "P99", "P99.9", "MAX", "FAILED")
	rows := o.Steps
	if len(rows) != 1 {
		rows = append(slices.Clone(rows), o.All)
	}
	for i := range rows {
		rows[i].write(w)
	}
	if o.All.Failed == 0 {
		return
	}
	fmt.Fprintln(w)
	writeRow(w, "FAILURE", "STEP", "COUNT")
	for _, step := range o.Steps {
		for _, kind := range slices.Sorted(maps.Keys(step.Failures)) {
			writeRow(w, kind, step.Step, strconv.FormatUint(step.Failures[kind], 10))
		}
	}
}

// write writes one row. All latencies have one unit, so that a column can be
// compared at a glance.
func (o *benchStepObject) write(w io.Writer) {
	cells := []string{o.Step, strconv.FormatUint(o.Requests, 10), strconv.FormatFloat(o.PerSecond, 'f', 1, 64)}
	for _, ms := range []float64{o.P50, o.P90, o.P99, o.P999, o.Max} {
		cell := ""
		if o.Requests > 0 {
			cell = fmt.Sprintf("%.2fms", ms)
		}
		cells = append(cells, cell)
	}
	writeRow(w, append(cells, strconv.FormatUint(o.Failed, 10))...)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// statusLine is one line that is written again and again, for people. A pipe or a
// file gets nothing.
type statusLine struct {
	out io.Writer
}

func newStatusLine(out *os.File) *statusLine {
	if !term.IsTerminal(int(out.Fd())) {
		return &statusLine{out: io.Discard}
	}
	return &statusLine{out: out}
}

// eraseLine goes to the beginning of the line and erases it.
const eraseLine = "\r\x1b[K"

func (l *statusLine) show(format string, args ...any) {
	fmt.Fprintf(l.out, eraseLine+format, args...)
}

func (l *statusLine) clear() { fmt.Fprint(l.out, eraseLine) }
