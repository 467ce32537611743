package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/innkeeper-auth/innkeeper"
)

type clientKey struct{}

// clientOf returns who sent the request of the context.
func clientOf(ctx context.Context) innkeeper.Client {
	client, _ := ctx.Value(clientKey{}).(innkeeper.Client)
	return client
}

// withClient notes who sent the request. X-Forwarded-For is believed only as far
// as it was written by proxies that the operator has named: it is read from the
// right, and the first address that is no such proxy is the client. Everything
// to the left of that was written by the client itself (RFC 7239 section 8.1).
//
// By this address failed sign-ins are counted. It fails closed: whatever cannot be
// believed counts for whoever has sent it, and never for nobody.
func (a *API) withClient(trusted []netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forwarded := r.Header.Values("X-Forwarded-For")
		client := innkeeper.Client{
			Addr:      clientAddr(trusted, r.RemoteAddr, forwarded),
			UserAgent: r.UserAgent(),
		}
		if len(forwarded) > 0 && !isTrusted(trusted, peerAddr(r.RemoteAddr)) {
			a.unbelieved.Do(func() { a.warnOfForwarder(r) })
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, client)))
	})
}

// warnOfForwarder says, once, what a proxy that nobody has named leads to. A stranger can
// send the header as well: that is why it is only said, and only once.
func (a *API) warnOfForwarder(r *http.Request) {
	a.logger.WarnContext(r.Context(), "X-Forwarded-For comes from a peer that is no trusted proxy, and is not believed; "+
		"if that peer is your proxy, everybody behind it shares one budget of failed sign-ins until you name it: --trusted-proxy",
		"peer", peerAddr(r.RemoteAddr).String())
}

// peerAddr is the other end of the connection; the zero value if it has no address.
func peerAddr(remote string) netip.Addr {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap()
}

func clientAddr(trusted []netip.Prefix, remote string, forwarded []string) netip.Addr {
	addr := peerAddr(remote)
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for i := len(hops) - 1; i >= 0 && isTrusted(trusted, addr); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			// Fail closed: what stands left of garbage is nobody's word.
			return addr
		}
		addr = hop.Unmap()
	}
	return addr
}

func isTrusted(trusted []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
