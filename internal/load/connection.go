package load

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// connection is one HTTP/1.1 connection, on which one request follows the other.
// It is a transport without what a client has above it: there are no cookies, no
// redirects to follow and no proxy, and the CPU that they would take would be
// missing to the server under test, which shares it.
type connection struct {
	base      string // in front of the paths of the API
	transport *http.Transport
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
	var protocols http.Protocols
	protocols.SetHTTP1(true) // HTTP/2 would cost both sides more for one request at a time
	return &connection{
		base: strings.TrimSuffix(base.String(), "/"),
		transport: &http.Transport{
			MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, IdleConnTimeout: maxIdle,
			DisableCompression: true, Protocols: &protocols,
		},
	}
}

// answer is what is needed of one.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request with headers in pairs, and reads the answer.
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
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return answer{status: resp.StatusCode, header: resp.Header, body: text}, err
}

func (c *connection) close() { c.transport.CloseIdleConnections() }
