package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// AddressError reports a name that leads to an address which must not be sent to.
type AddressError struct {
	Addr netip.Addr
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("%s is not a public address; allow its network if that is meant", e.Addr)
}

// guard says which addresses may be sent to.
type guard struct {
	allowed     []netip.Prefix
	thisMachine bool
}

// hostKey leads to the host of a connection as it was written.
type hostKey struct{}

func withHost(ctx context.Context, address string) context.Context {
	host, _, _ := net.SplitHostPort(address)
	return context.WithValue(ctx, hostKey{}, host)
}

// control is called with the address that a connection is about to be made to, when no
// name is looked up any more.
func (g guard) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial an address: %w", err)
	}
	host, _ := ctx.Value(hostKey{}).(string)
	return g.check(host, target.Addr())
}

// check returns an [*AddressError] for an address that must not be sent to. Where this
// machine may be, it is for those who name it; a name of somebody's that leads here is
// refused all the same.
func (g guard) check(host string, addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range g.allowed {
		if prefix.Contains(addr) {
			return nil
		}
	}
	if g.thisMachine && addr.IsLoopback() && isThisMachine(host) || isPublic(addr) {
		return nil
	}
	return &AddressError{Addr: addr}
}

// isThisMachine reports whether a host is this machine by its name, whatever a resolver
// says.
func isThisMachine(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// notPublic are the networks of the registries of special-purpose addresses (RFC 6890)
// that lead to nobody else's server. Those of IPv6 that carry an address of IPv4 are
// among them, since that one may be anything.
func notPublic() []string {
	return []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
		"3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	}
}

func isPublic(addr netip.Addr) bool {
	for _, network := range notPublic() {
		if netip.MustParsePrefix(network).Contains(addr) {
			return false
		}
	}
	return addr.IsGlobalUnicast()
}
