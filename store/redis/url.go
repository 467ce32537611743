package redis

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// target is what a URL says.
type target struct {
	addrs    []string
	username string
	password string
	database int
	tls      bool
	cluster  topology
}

// topology is whether the server is a node of a cluster.
type topology int

const (
	detect topology = iota
	cluster
	single
)

const defaultPort = "6379"

// errURL is all that is said about a malformed URL, which may hold a password
// anywhere. For the same reason package net/url, which quotes what it refuses, does
// not see it; nor would it take several hosts.
var errURL = errors.New("the URL is malformed: write redis://user:password@host:port/database, or rediss:// for TLS, and percent-encode special characters")

// parseURL reads the URL of a [Config].
func parseURL(text string) (target, error) {
	var t target
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case ok && scheme == "rediss":
		t.tls = true
	case !ok || scheme != "redis":
		return target{}, errURL
	}
	rest, query, _ := strings.Cut(rest, "?")
	if user, hosts, ok := cutLast(rest, "@"); ok {
		rest = hosts
		if err := t.parseUser(user); err != nil {
			return target{}, err
		}
	}
	hosts, database, _ := strings.Cut(rest, "/")
	if err := t.parseHosts(hosts); err != nil {
		return target{}, err
	}
	if database != "" {
		n, err := strconv.Atoi(database)
		if err != nil || n < 0 {
			return target{}, errURL
		}
		t.database = n
	}
	return t, t.parseQuery(query)
}

func cutLast(text, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(text, sep); i >= 0 {
		return text[:i], text[i+len(sep):], true
	}
	return text, "", false
}

func (t *target) parseUser(text string) error {
	if strings.ContainsAny(text, "/@") { // must be encoded: it would not be clear where the host begins
		return errURL
	}
	username, password, _ := strings.Cut(text, ":")
	var err error
	if t.username, err = url.PathUnescape(username); err != nil {
		return errURL
	}
	if t.password, err = url.PathUnescape(password); err != nil {
		return errURL
	}
	return nil
}

func (t *target) parseHosts(text string) error {
	for host := range strings.SplitSeq(text, ",") {
		addr, err := parseHost(host)
		if err != nil {
			return err
		}
		t.addrs = append(t.addrs, addr)
	}
	if len(t.addrs) > 1 {
		t.cluster = cluster
	}
	return nil
}

// parseHost reads host, host:port, [address] or [address]:port.
func parseHost(text string) (string, error) {
	name, port, err := net.SplitHostPort(text)
	if err != nil {
		name, port, err = net.SplitHostPort(text + ":" + defaultPort)
	}
	if err != nil || name == "" || strings.ContainsFunc(name, notOfHost) {
		return "", errURL
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errURL
	}
	return net.JoinHostPort(name, port), nil
}

// notOfHost finds signs that stand in no name and no address.
func notOfHost(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_:%", r)
}

func (t *target) parseQuery(text string) error {
	values, err := url.ParseQuery(text)
	if err != nil {
		return errURL
	}
	for name, value := range values {
		if name != "cluster" || len(value) != 1 {
			return errors.New("the URL has a parameter other than cluster")
		}
		switch value[0] {
		case "true":
			t.cluster = cluster
		case "false":
			if len(t.addrs) > 1 {
				return errors.New("the URL names several hosts: only a cluster has those")
			}
			t.cluster = single
		default:
			return errors.New("the URL's parameter cluster is neither true nor false")
		}
	}
	if t.cluster == cluster && t.database != 0 {
		return errors.New("the URL names a database: a cluster has only number 0")
	}
	return nil
}

// String prints the target without its password.
func (t target) String() string {
	scheme, user := "redis://", ""
	if t.tls {
		scheme = "rediss://"
	}
	if t.username != "" || t.password != "" {
		user = url.PathEscape(t.username) + ":[redacted]@"
	}
	return scheme + user + strings.Join(t.addrs, ",") + "/" + strconv.Itoa(t.database)
}
