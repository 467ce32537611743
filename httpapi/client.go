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
func withClient(trusted []netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := innkeeper.Client{
			Addr:      clientAddr(trusted, r.RemoteAddr, r.Header.Values("X-Forwarded-For")),
			UserAgent: r.UserAgent(),
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, client)))
	})
}

func clientAddr(trusted []netip.Prefix, remote string, forwarded []string) netip.Addr {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
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
