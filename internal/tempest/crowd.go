package tempest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// crowd is the people with browsers, whom web/e2e/crowd.js moves.
type crowd struct {
	*tempest

	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}

	mu      sync.Mutex
	last    int
	waiting map[int]chan crowdLine
	members map[string]*member
}

// crowdLine is one line that crowd.js prints.
type crowdLine struct {
	ID      int             `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   string          `json:"error"`
	Type    string          `json:"type"`
	Person  string          `json:"person"`
	Session string          `json:"session"`
	Reason  string          `json:"reason"`
}

// gather starts crowd.js.
func gather(ctx context.Context, s *tempest) (*crowd, error) {
	if _, err := os.Stat(filepath.Join(filepath.Dir(s.Crowd), "node_modules", "playwright-core")); err != nil {
		return nil, fmt.Errorf("the crowd needs its packages: %w\nhint: scripts/install-test-deps", err)
	}
	plan, err := json.Marshal(map[string]any{"url": s.injector.url, "client": s.Client, "seed": s.Seed})
	if err != nil {
		return nil, err
	}
	c := &crowd{tempest: s, ended: make(chan struct{}), waiting: map[int]chan crowdLine{}, members: map[string]*member{}}
	c.cmd = exec.CommandContext(context.WithoutCancel(ctx), "node", s.Crowd, string(plan)) //nolint:gosec // a file of ours; it ends with its input
	c.cmd.Dir, c.cmd.Stderr = filepath.Dir(s.Crowd), os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the crowd: %w", err)
	}
	go c.listen(stdout)
	return c, nil
}

// close ends the browsers and waits for that.
func (c *crowd) close() error {
	_ = c.stdin.Close() // it may have ended
	select {
	case <-c.ended:
	case <-time.After(30 * time.Second):
		_ = c.cmd.Process.Kill() // it may just have ended
		<-c.ended
	}
	return c.cmd.Wait()
}

func (c *crowd) listen(stdout io.Reader) {
	defer close(c.ended)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var line crowdLine
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		c.mu.Lock()
		answered, member := c.waiting[line.ID], c.members[line.Person]
		delete(c.waiting, line.ID)
		c.mu.Unlock()
		switch {
		case answered != nil:
			answered <- line
		case line.Type == "signed_out" && member != nil:
			c.signedOut(member, line.Session, line.Reason)
		case line.Type == "complaint":
			c.complain("crowd: %s %s", line.Person, line.Error)
		}
	}
}

// order has a person do something, and waits until it is done.
func (c *crowd) order(ctx context.Context, out any, verb, person string, more map[string]any) error {
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	answered := make(chan crowdLine, 1)
	c.mu.Lock()
	c.last++
	order := map[string]any{"id": c.last, "do": verb, "person": person}
	c.waiting[c.last] = answered
	for name, value := range more {
		order[name] = value
	}
	text, err := json.Marshal(order)
	if err == nil {
		_, err = c.stdin.Write(append(text, '\n'))
	}
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("tell the crowd: %w", err)
	}
	select {
	case line := <-answered:
		if line.Error != "" {
			return fmt.Errorf("%s: %s", verb, line.Error)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(line.Result, out)
	case <-c.ended:
		return errors.New("the crowd has gone: crowd.js has ended")
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", verb, context.Cause(ctx))
	}
}

// member is a person with tabs.
type member struct {
	*crowd

	called string
	tabs   int
	folder string // of a browser of one's own; empty: a context of the common one
}

func (c *crowd) person(name string, tabs int) *member {
	m := &member{crowd: c, called: name, tabs: tabs}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[name] = m
	return m
}

// crashing has a browser of their own, to be killed.
func (c *crowd) crashing(name string, tabs int) *crasher {
	m := c.person(name, tabs)
	m.folder = filepath.Join(c.Dir, "profile-of-"+name)
	return &crasher{m}
}

func (m *member) name() string { return m.called }

func (m *member) do(ctx context.Context, out any, verb string, more map[string]any) error {
	return m.order(ctx, out, verb, m.called, more)
}

func (m *member) open(ctx context.Context) error {
	return m.do(ctx, nil, "open", map[string]any{"tabs": m.tabs})
}

func (m *member) arrive(ctx context.Context) error {
	if err := m.do(ctx, nil, "arrive", map[string]any{"folder": m.folder}); err != nil {
		return err
	}
	if err := m.signIn(ctx); err != nil {
		return err
	}
	return m.open(ctx)
}

// signIn goes on until it is done: a page may not load in bad weather.
func (m *member) signIn(ctx context.Context) error {
	for {
		err := m.do(ctx, nil, "signIn", map[string]any{"username": m.called, "password": m.Password})
		if err == nil || ctx.Err() != nil {
			return err
		}
		if sleep(ctx, time.Second) != nil {
			return err
		}
	}
}

func (m *member) live(ctx context.Context) error {
	if err := m.do(ctx, nil, "live", nil); err != nil {
		return err
	}
	<-ctx.Done()
	return m.do(context.WithoutCancel(ctx), nil, "rest", nil)
}

func (m *member) jar(ctx context.Context) (loot, error) {
	var token string
	err := m.do(ctx, &token, "jar", nil)
	if err == nil && token == "" {
		err = errNoLoot
	}
	return loot{token, true}, err
}

func (m *member) census(ctx context.Context) (there, served int, err error) {
	var found struct{ Tabs, Served int }
	err = m.do(ctx, &found, "census", nil)
	return found.Tabs, found.Served, err
}

// crasher is a person whose browser is killed: after some time without a rotation, in
// which the cookies reach the disk, and within moments of the next one, which then do
// not. The jar is a generation behind after that. Two would be two sign-ins: that is
// the bound of docs/refresh.md, and this tests what is inside it.
type crasher struct{ *member }

// onDisk is how long Chromium may take to write a cookie down, and some more.
const onDisk = 38 * time.Second

func (c *crasher) live(ctx context.Context) error {
	rng := c.rng(50)
	for {
		err := c.do(ctx, nil, "live", nil)
		if err == nil {
			_ = sleep(ctx, between(rng, 2*time.Second, 8*time.Second)) // ends with ctx, and so do we
			err = c.do(context.WithoutCancel(ctx), nil, "rest", nil)
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
		if err := c.lunch(ctx); err != nil {
			// Whatever happened, there are tabs in the end.
			return errors.Join(c.open(context.WithoutCancel(ctx)), ignoreEnd(ctx, err))
		}
		if err := c.crash(context.WithoutCancel(ctx), between(rng, 0, 1500*time.Millisecond)); err != nil {
			return err
		}
	}
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// lunch closes the app and waits until the jar is on the disk.
func (c *crasher) lunch(ctx context.Context) error {
	if err := c.do(context.WithoutCancel(ctx), nil, "leave", nil); err != nil {
		return err
	}
	return sleep(ctx, onDisk)
}

// crash opens the app, kills the browser in the first refresh or just after it, and
// starts it again.
func (c *crasher) crash(ctx context.Context, delay time.Duration) error {
	before := c.register.look(c.called)
	held, err := c.jar(ctx)
	if err != nil && !errors.Is(err, errNoLoot) {
		return err
	}
	_, generation := readToken(held.token)
	c.injector.seal(before.session, generation+1)
	defer c.injector.unseal(before.session)
	if err := c.do(ctx, nil, "wake", nil); err != nil {
		return err
	}
	c.await(ctx, c.called+" to refresh after lunch", func() bool {
		return c.register.look(c.called).arrived > before.arrived || c.isOver(before.session)
	})
	if err := sleep(ctx, delay); err != nil {
		return err
	}
	if err := c.do(ctx, nil, "kill", nil); err != nil {
		return err
	}
	c.countKill("browsers")
	if err := c.do(ctx, nil, "arrive", map[string]any{"folder": c.folder}); err != nil {
		return err
	}
	if held, err = c.jar(ctx); err == nil {
		if _, generation := readToken(held.token); generation < c.register.look(c.called).newest {
			c.register.noteRollback()
		}
	}
	c.injector.unseal(before.session)
	return c.open(ctx)
}
