package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// Followers measures what it costs a server that thousands wait in its revocation
// feed: its memory (VmRSS after a collection, beside what it was before), and how
// long it takes until all of them know of a revocation.

func runFollowers(ctx context.Context, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("bench followers", flag.ContinueOnError)
	n := flags.Int("followers", 5_000, "how many wait at once")
	rounds := flags.Int("rounds", 5, "how often something is revoked")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "innkeeper-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := startSide(ctx, sideSQLite, rootkey.Generate().Reveal(), nil, "-file", filepath.Join(dir, "innkeeper.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	c, err := newCongregation(ctx, server)
	if err != nil {
		return err
	}
	defer c.close()
	fmt.Fprintf(out, "%s, %d CPUs, %d followers\n", runtime.Version(), runtime.NumCPU(), *n)
	return c.measure(ctx, out, *n, *rounds)
}

// congregation is who waits for news of one server.
type congregation struct {
	server *side
	cursor int64
	conns  []net.Conn
}

// newCongregation learns where the feed stands. That also makes the server do once
// what it does only once.
func newCongregation(ctx context.Context, server *side) (*congregation, error) {
	c := &congregation{server: server}
	if err := c.ask(ctx, 1, 0); err != nil {
		return nil, err
	}
	page, err := c.answer(0)
	c.cursor = page.Next
	return c, err
}

type feedPage struct {
	Entries []struct{} `json:"entries"`
	Next    int64      `json:"next"`
}

// ask lets n followers send the request that a verifier in Go would send, each on a
// connection of its own.
func (c *congregation) ask(ctx context.Context, n int, wait time.Duration) error {
	c.close()
	c.conns = c.conns[:0]
	var dialer net.Dialer
	for range n {
		conn, err := dialer.DialContext(ctx, "tcp", c.server.url.Host)
		if err != nil {
			return err
		}
		c.conns = append(c.conns, conn)
		_, err = fmt.Fprintf(conn, "GET /auth/revocations?after=%d&wait=%s HTTP/1.1\r\nHost: %s\r\n"+
			"User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n", c.cursor, wait, c.server.url.Host)
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *congregation) answer(i int) (page feedPage, err error) {
	resp, err := http.ReadResponse(bufio.NewReader(c.conns[i]), nil)
	if err != nil {
		return page, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return page, fmt.Errorf("the feed answered %s", resp.Status)
	}
	return page, json.NewDecoder(resp.Body).Decode(&page)
}

func (c *congregation) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *congregation) measure(ctx context.Context, out io.Writer, n, rounds int) error {
	before, _, err := c.memory()
	if err != nil {
		return err
	}
	for round := range rounds {
		if err := c.ask(ctx, n, time.Minute); err != nil {
			return err
		}
		after, err := c.waiting(ctx, 2*n)
		if err != nil {
			return err
		}
		told, err := c.revoke(n)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "round %d: %d KiB, %.1f KiB for each follower; told of a revocation: the median after %s, the last after %s\n",
			round+1, after/1024, float64(after-before)/1024/float64(n), short(told[n/2]), short(told[n-1]))
	}
	return nil
}

// waiting returns the memory of the server when so many goroutines are there: two for
// each follower, of which one watches whether it leaves.
func (c *congregation) waiting(ctx context.Context, goroutines int) (int64, error) {
	for {
		bytes, running, err := c.memory()
		if err != nil || running >= goroutines {
			return bytes, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// revoke ends a user's sessions and returns how soon each follower knew, sorted.
func (c *congregation) revoke(n int) ([]time.Duration, error) {
	told := make([]time.Time, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			page, err := c.answer(i)
			if err == nil && len(page.Entries) != 1 {
				err = fmt.Errorf("a follower was told of %d entries, want 1", len(page.Entries))
			}
			told[i], errs[i] = time.Now(), err
			if i == 0 {
				c.cursor = page.Next
			}
		})
	}
	began := time.Now()
	_, err := c.server.tell("logout-everywhere " + username)
	wg.Wait()
	took := make([]time.Duration, n)
	for i, at := range told {
		took[i] = at.Sub(began)
	}
	slices.Sort(took)
	return took, errors.Join(append(errs, err)...)
}

// memory asks the server for what it takes, and how many goroutines it has.
func (c *congregation) memory() (bytes int64, goroutines int, err error) {
	answer, err := c.server.tell("memory")
	if err == nil {
		_, err = fmt.Sscan(answer, &bytes, &goroutines)
	}
	return bytes, goroutines, err
}

// residentMemory is the answer to that.
func residentMemory() (string, error) {
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return fmt.Sprint(kib*1024, runtime.NumGoroutine()), err
		}
	}
	return "", errors.New("/proc/self/status says nothing of VmRSS")
}
