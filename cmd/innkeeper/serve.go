package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/internal/ballast"
	"github.com/innkeeper-auth/innkeeper/internal/hashworker"
)

type serveCommand struct {
	Listen               string        `default:"127.0.0.1:8080" help:"host and port to listen on"`
	TLSTerminatedByProxy bool          `help:"a proxy in front speaks https: allows --listen on addresses that others can reach"`
	TrustedProxy         []network     `placeholder:"CIDR" help:"network of proxies whose X-Forwarded-For is believed; may repeat"`
	Data                 dataFlags     `embed:""`
	LogLevel             string        `enum:"debug,info,warn,error" default:"info" help:"debug, info, warn or error; text on a terminal, JSON otherwise"`
	DrainDelay           time.Duration `default:"0s" help:"how long to answer on while /readyz says 503, before a stop: so that a load balancer sends nobody any more; up to 5m"`

	Issuer         string        `group:"sessions" placeholder:"URL" help:"public URL, the iss of every token; http://localhost and the port of --listen by default"`
	Audience       []string      `group:"sessions" placeholder:"AUD" help:"aud of every access token, the issuer by default; may repeat"`
	Alg            string        `group:"sessions" enum:"ES256,RS256,EdDSA" default:"ES256" help:"ES256, RS256 or EdDSA, for signing keys made from now on"`
	KeyRotation    time.Duration `name:"key-rotation-period" group:"sessions" default:"720h" help:"how long a signing key signs before the next one does; 24h or more, or 0 for by hand only"`
	AccessTTL      time.Duration `group:"sessions" default:"15m" help:"life of an access token, 5s to 1h"`
	RefreshIdleTTL time.Duration `group:"sessions" default:"336h" help:"how long a refresh token may lie unused"`
	SessionTTL     time.Duration `group:"sessions" default:"720h" help:"end of a session, counted from the sign-in"`
	RefreshLeeway  time.Duration `group:"sessions" default:"0s" help:"forgive a repeated refresh without an idempotency key for so long; a theft inside it goes unseen"`
	Sweep          sweepFlags    `embed:"" group:"sessions"`

	Webhook webhookFlags `embed:""`

	AllowedOrigin []string `group:"browsers" placeholder:"ORIGIN" help:"web origin whose pages may call with credentials, like https://app.example.com; may repeat"`
	CookieScope   string   `group:"browsers" enum:"path,host" default:"path" help:"path: the refresh cookie goes to /auth only; host: if this server has a host of its own"`

	SignInLimits string        `group:"passwords" enum:"all,accounts,off" default:"all" help:"by what failed sign-ins are slowed down; all: account and network of the client; accounts: if something in front limits addresses; off: nothing, for measurements only"`
	RefreshLimit int           `group:"passwords" default:"60" help:"refreshes of one session at once and per minute, at each server; up to 60000, or 0 for any number"`
	Signup       string        `group:"passwords" enum:"closed,open" default:"closed" help:"open: anyone can create a user; closed: only you"`
	Passwords    passwordFlags `embed:"" group:"passwords"`
}

// Help is shown above the flags.
func (*serveCommand) Help() string {
	return `It needs no configuration on one machine: the first start creates the data directory, with a database and a root key. With --database any number of servers share one, each with the same root key. It speaks plain http, so it listens on this machine only, unless it is told that a proxy in front of it does TLS.`
}

// Validate refuses flags that do not go together. Kong calls it.
func (s *serveCommand) Validate() error {
	host, _, err := net.SplitHostPort(s.Listen)
	switch {
	case err != nil:
		return usage(fmt.Errorf("--listen %s: give host and port", s.Listen), "for example 127.0.0.1:8080")
	case !isLoopback(host) && !s.TLSTerminatedByProxy:
		return usage(fmt.Errorf("--listen %s would carry passwords and tokens over the network in plain http", s.Listen),
			"listen on 127.0.0.1, or, if a proxy in front speaks https, say so with --tls-terminated-by-proxy")
	case s.TLSTerminatedByProxy && s.Issuer == "":
		return usage(errors.New("--tls-terminated-by-proxy needs --issuer"), "give the URL by which browsers reach the proxy, like --issuer https://auth.example.com")
	case s.AccessTTL == 0 || s.RefreshIdleTTL == 0 || s.SessionTTL == 0:
		// Zero is "the default" to the packages below, and a mistake here.
		return usage(errors.New("--access-ttl, --refresh-idle-ttl and --session-ttl cannot be zero"), "leave them out for the defaults")
	}
	if s.KeyRotation != 0 && s.KeyRotation < minKeyRotation {
		return usage(fmt.Errorf("--key-rotation-period %s is out of bounds", s.KeyRotation), "choose %s or more, or 0 to rotate by hand only", minKeyRotation)
	}
	if s.RefreshLimit < 0 || s.RefreshLimit > maxRefreshLimit {
		return usage(fmt.Errorf("--refresh-limit %d is out of bounds", s.RefreshLimit), "choose 1 to %d, or 0 for any number", maxRefreshLimit)
	}
	if s.DrainDelay < 0 || s.DrainDelay > maxDrainDelay {
		return usage(fmt.Errorf("--drain-delay %s is out of bounds", s.DrainDelay), "choose 0s to %s: a little more than two checks of your load balancer take", maxDrainDelay)
	}
	return errors.Join(s.Sweep.check(), s.Passwords.check())
}

// isLoopback reports whether a host is this machine and nothing else. A name
// other than localhost may be anything.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Run serves until the context ends.
func (s *serveCommand) Run(ctx context.Context, std *stdio) (err error) {
	log := newLogger(std.err, s.LogLevel)
	listener, err := listen(ctx, s.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // the server has closed it already, if it got that far
	if s.Issuer == "" {
		s.Issuer = localURL(listener)
	}
	d, err := s.Data.open(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if d.newRootKey != "" {
		log.Info("created a root key: keep a copy of it, apart from backups of the database", "file", d.newRootKey)
	}
	hashes, err := newHashWorker(log)
	if err != nil {
		return err
	}
	defer hashes.Close()
	authority, err := s.authority(ctx, d, hashes, log)
	if err != nil {
		return err
	}
	api, err := s.api(authority, log)
	if err != nil {
		return err
	}
	if err := rememberIssuer(ctx, d.stores.Issuer, s.Issuer); err != nil {
		return err
	}
	s.warn(log)

	defer ballast.Load()()
	defer oneMoreThread()()
	release, wait, err := background(ctx, authority)
	if err != nil {
		return err
	}
	defer wait()
	stopSweeping := s.Sweep.start(ctx, authority, log)
	defer stopSweeping()
	here := s.Data.Place.place()
	log.Info("listening", "url", "http://"+listener.Addr().String(), "issuer", s.Issuer, "version", currentVersion().Version,
		"database", here.String(), "sessions", here.sessionsString())
	how := stopping{drain: s.DrainDelay, limit: shutdownTimeout, release: release, followed: api.Wait}
	return serveUntilDone(ctx, listener, logRequests(log, api), how, log)
}

// oneMoreThread lets one more thread run Go code than there are CPUs, until the returned
// function is called, unless the operator has said how many. The store waits for the
// disk in one of them, and a storm of sign-ins keeps all but one busy with hashes: until
// the runtime has noticed the first, which takes it up to 10 ms, nobody would serve
// refreshes.
func oneMoreThread() (back func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	before := runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	return func() { runtime.GOMAXPROCS(before) }
}

// authority decides over what the data holds.
func (s *serveCommand) authority(ctx context.Context, d *data, hashes *hashworker.Worker, log *slog.Logger) (*innkeeper.Authority, error) {
	hashing := s.Passwords.hashing()
	hashing.Engine = hashes
	return innkeeper.Open(ctx, innkeeper.Config{
		Issuer:   s.Issuer,
		Audience: s.Audience,
		Stores:   d.stores,
		RootKeys: d.roots,
		Clock:    time.Now,
		Policy: innkeeper.Policy{
			AccessTTL: s.AccessTTL, IdleTTL: s.RefreshIdleTTL, SessionTTL: s.SessionTTL, RefreshLeeway: s.RefreshLeeway,
		},
		Algorithm:         accesstoken.Algorithm(s.Alg),
		KeyRotationPeriod: s.keyRotation(),
		Passwords:         hashing,
		PasswordPolicy:    s.Passwords.policy(),
		SignInLimits:      innkeeper.SignInLimits(s.SignInLimits),
		RefreshLimit:      s.refreshLimit(),
		SignupOpen:        s.Signup == "open",
		Webhooks:          s.Webhook.sender(s.Issuer),
		Observe:           logEvents(log),
	})
}

// minKeyRotation is the least that an authority takes.
const minKeyRotation = 24 * time.Hour

// keyRotation is the period as the authority wants it: there zero is the default.
func (s *serveCommand) keyRotation() time.Duration {
	if s.KeyRotation == 0 {
		return -1
	}
	return s.KeyRotation
}

// maxRefreshLimit is the most that an authority takes.
const maxRefreshLimit = 60_000

// refreshLimit is the limit as the authority wants it: there zero is the default.
func (s *serveCommand) refreshLimit() int {
	if s.RefreshLimit == 0 {
		return -1
	}
	return s.RefreshLimit
}

// api is the API over an authority.
func (s *serveCommand) api(authority *innkeeper.Authority, log *slog.Logger) (*httpapi.API, error) {
	proxies := make([]netip.Prefix, len(s.TrustedProxy))
	for i, proxy := range s.TrustedProxy {
		proxies[i] = proxy.Prefix
	}
	return httpapi.New(httpapi.Config{
		Authority:      authority,
		Version:        currentVersion().Version,
		CookieScope:    httpapi.CookieScope(s.CookieScope),
		AllowedOrigins: s.AllowedOrigin,
		TrustedProxies: proxies,
		Logger:         log,
	})
}

// rememberIssuer notes the issuer for the commands beside the server.
func rememberIssuer(ctx context.Context, store innkeeper.IssuerStore, issuer string) error {
	known, err := store.Issuer(ctx)
	if err == nil && known != issuer {
		err = store.SetIssuer(ctx, issuer)
	}
	if err != nil {
		return fmt.Errorf("remember issuer: %w", err)
	}
	return nil
}

// warn tells of settings that work and are probably not meant.
func (s *serveCommand) warn(log *slog.Logger) {
	issuer, err := url.Parse(s.Issuer)
	if err == nil && issuer.Scheme == "http" && !isLoopback(issuer.Hostname()) {
		log.Warn("the issuer is plain http: browsers keep no refresh cookie of it", "issuer", s.Issuer)
	}
	if s.SignInLimits == string(innkeeper.InsecureLimitNothing) {
		log.Warn("failed sign-ins are not slowed down: passwords can be guessed as fast as they can be hashed", "sign_in_limits", s.SignInLimits)
	}
	if s.RefreshLeeway > 0 {
		log.Warn("a stolen refresh token goes unnoticed within the leeway, for clients without idempotency keys", "refresh_leeway", s.RefreshLeeway.String())
	}
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, hint(fmt.Errorf("another program listens on %s", address), "choose another port: --listen 127.0.0.1:8081")
	}
	return listener, err
}

// localURL is how a browser on this machine reaches a listener.
func localURL(listener net.Listener) string {
	addr, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return "http://localhost:" + strconv.Itoa(addr.Port)
}

// network is a network in CIDR notation, or the address of one machine.
type network struct{ netip.Prefix }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *network) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		n.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%q is no network like 10.0.0.0/8", text)
	}
	n.Prefix = prefix
	return nil
}
