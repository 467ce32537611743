// Package webhook carries events to the URLs of others, as Standard Webhooks describes
// it (https://www.standardwebhooks.com): a POST of JSON with the headers webhook-id,
// webhook-timestamp and webhook-signature, which libraries for a dozen languages verify.
//
//	sender := webhook.NewSender(webhook.Config{})
//	authority, err := innkeeper.Open(ctx, innkeeper.Config{Webhooks: sender, …})
//
// What is sent, when, and how often is for [innkeeper.Authority] to say. Here is one
// try, and what must not happen during it: whoever may add a webhook names a URL that
// the server will fetch, and so could have it knock at doors that only the server can
// reach (server-side request forgery, OWASP ASVS 1.3.6). So:
//
//   - https only, with a certificate of an authority that the system trusts. Plain http
//     is for programs on this machine, named as localhost or a loopback address, where
//     that is allowed: [Config].ThisMachine, for development.
//   - Addresses that are not public are refused, after the name was resolved and for the
//     connection that is made, so that no name server can answer twice. Networks of your
//     own can be allowed: [Config].AllowedNetworks.
//   - No redirect is followed, no proxy is asked, no cookie is kept, and nothing of the
//     answer is used but its status and Retry-After.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper"
)

// Config is what it takes to make a [Sender].
type Config struct {
	// UserAgent names the sender. The zero value means "innkeeper".
	UserAgent string
	// AllowedNetworks may be sent to although they are not public. The zero value allows
	// none.
	AllowedNetworks []netip.Prefix
	// ThisMachine lets programs on this machine be sent to, if they are named as localhost
	// or a loopback address. The zero value does not: what listens there trusts whoever
	// can reach it, and whoever may add a webhook would.
	ThisMachine bool
	// TLS says which authorities are trusted. The zero value trusts those of the system.
	TLS *tls.Config
	// Resolver resolves names. The zero value is that of the system.
	Resolver *net.Resolver
}

const (
	dialTimeout   = 5 * time.Second
	maxHeader     = 16 << 10
	maxAnswer     = 4 << 10 // what is read of an answer, so that its connection can be kept
	idleTimeout   = 30 * time.Second
	idlePerServer = 1 // there is one delivery at a time

	// A connection of HTTP/2 on which nothing has come for pingAfter is asked whether it
	// lives, and given up after another pingTimeout: before a delivery times out, which
	// would leave a dead connection to the next one.
	pingAfter   = 5 * time.Second
	pingTimeout = 5 * time.Second
)

// Sender carries messages. It implements [innkeeper.WebhookSender], and is safe for
// concurrent use.
type Sender struct {
	userAgent string
	client    *http.Client
}

// NewSender returns a sender.
func NewSender(cfg Config) *Sender {
	if cfg.UserAgent == "" {
		cfg.UserAgent = "innkeeper"
	}
	guard := guard{allowed: cfg.AllowedNetworks, thisMachine: cfg.ThisMachine}
	dialer := &net.Dialer{Timeout: dialTimeout, Resolver: cfg.Resolver, ControlContext: guard.control}
	return &Sender{
		userAgent: cfg.UserAgent,
		client: &http.Client{
			Transport: &http.Transport{
				// The host as it was written says whether it means this machine.
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					return dialer.DialContext(withHost(ctx, address), network, address)
				},
				TLSClientConfig:        tlsConfig(cfg.TLS),
				TLSHandshakeTimeout:    dialTimeout,
				MaxResponseHeaderBytes: maxHeader,
				MaxIdleConnsPerHost:    idlePerServer,
				IdleConnTimeout:        idleTimeout,
				ForceAttemptHTTP2:      true,
				HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
			},
			// A redirect leads to where nobody has looked.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func tlsConfig(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return cfg.Clone()
}

// Send implements [innkeeper.WebhookSender]. It gives up when ctx ends.
func (s *Sender) Send(ctx context.Context, m innkeeper.WebhookMessage) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL, bytes.NewReader(m.Body))
	if err != nil {
		return errors.New("the URL is none")
	}
	if req.URL.Scheme != "https" && (req.URL.Scheme != "http" || !isThisMachine(req.URL.Hostname())) {
		return errors.New("the URL is neither https nor of this machine")
	}
	timestamp := strconv.FormatInt(m.At.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.userAgent)
	// As the standard spells them: receivers of HTTP do not care, those who read its
	// text do.
	req.Header["webhook-id"] = []string{m.ID}
	req.Header["webhook-timestamp"] = []string{timestamp}
	req.Header["webhook-signature"] = []string{signatures(m, timestamp)}
	resp, err := s.client.Do(req)
	if err != nil {
		return plain(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status was all that counts
	if resp.StatusCode/100 != 2 {
		return &innkeeper.WebhookRefusedError{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), m.At)}
	}
	return nil
}

// signatures signs with every secret: "v1,…" for each, with a space between them.
func signatures(m innkeeper.WebhookMessage, timestamp string) string {
	all := make([]string, len(m.Secrets))
	for i, secret := range m.Secrets {
		mac := hmac.New(sha256.New, secret.Key())
		fmt.Fprintf(mac, "%s.%s.%s", m.ID, timestamp, m.Body)
		all[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(all, " ")
}

// retryAfter reads both forms of the header (RFC 9110 section 10.2.3); zero for others.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), 24*60*60)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// plain is an error for people who know which webhook it is of, and without its URL,
// which may be a secret.
func plain(err error) error {
	var (
		wrapped *url.Error
		refused *AddressError
		timeout net.Error
	)
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("timed out")
	case errors.As(err, &wrapped):
		return wrapped.Err
	}
	return err
}
