package load

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// connection is one HTTP/1.1 connection, on which one request follows the other.
//
// [http.Transport] keeps two goroutines for each connection, through which every
// request and every answer is handed on. That takes twice the CPU, which would be
// missing to the server under test where both share a machine. So the standard
// library writes the request and reads the answer here, and the client's own
// goroutine does it. Proxies, redirects, cookies and HTTP/2 are not wanted.
type connection struct {
	base   string // in front of the paths of the API
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	addr   string
	conn   net.Conn // nil: there is none
	reader *bufio.Reader
	writer *bufio.Writer
	usedAt time.Time
}

const (
	// maxIdle is shorter than any server or proxy keeps an idle connection. A request
	// must not be sent just when the other side closes: if it is a sign-in, nobody
	// could tell whether there is a session now.
	maxIdle = 30 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 1 << 20
)

func newConnection(base *url.URL) *connection {
	c := &connection{base: strings.TrimSuffix(base.String(), "/")}
	c.dial, c.addr = (&net.Dialer{}).DialContext, net.JoinHostPort(base.Hostname(), cmp.Or(base.Port(), "80"))
	if base.Scheme == "https" {
		config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
		c.dial, c.addr = (&tls.Dialer{Config: config}).DialContext, net.JoinHostPort(base.Hostname(), cmp.Or(base.Port(), "443"))
	}
	return c
}

// answer is what is needed of one.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request with headers in pairs, and reads the answer, until the context
// ends.
func (c *connection) do(ctx context.Context, method, path, body string, headers []string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", "innkeeper-bench")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if err := c.connect(ctx); err != nil {
		return answer{}, err
	}
	conn := c.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // in the past: reads and writes end
	a, reusable, err := c.exchange(req)
	if ended := !stop(); ended || !reusable {
		c.close()
	}
	c.usedAt = time.Now()
	return a, err
}

// connect sees to it that there is a connection, with the deadline of the context.
func (c *connection) connect(ctx context.Context) error {
	if c.conn != nil && time.Since(c.usedAt) > maxIdle {
		c.close()
	}
	if c.conn == nil {
		conn, err := c.dial(ctx, "tcp", c.addr)
		if err != nil {
			return err
		}
		c.conn, c.reader, c.writer = conn, bufio.NewReader(conn), bufio.NewWriter(conn)
	}
	deadline, _ := ctx.Deadline()
	return c.conn.SetDeadline(deadline)
}

// exchange returns whether the connection can be used again, too.
func (c *connection) exchange(req *http.Request) (a answer, reusable bool, err error) {
	err = req.Write(c.writer)
	if err == nil {
		err = c.writer.Flush()
	}
	if err != nil {
		return answer{}, false, err
	}
	resp, err := http.ReadResponse(c.reader, req)
	for err == nil && resp.StatusCode < http.StatusOK { // that was only a hint at the answer
		resp, err = http.ReadResponse(c.reader, req)
	}
	if err != nil {
		return answer{}, false, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	// At its end a body must say so; one that was too long has not been read.
	_, end := resp.Body.Read(make([]byte, 1))
	return answer{status: resp.StatusCode, header: resp.Header, body: text}, err == nil && end == io.EOF && !resp.Close, err
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close() // what mattered has been read
		c.conn = nil
	}
}
