package httpapi

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
)

func TestParseIdempotencyKey(t *testing.T) {
	const key = "8e03978e-40d5-43e8-bc93-6894a57f9324"
	same, err := innkeeper.NewIdempotencyKey(key, 0)
	if err != nil {
		t.Fatal(err)
	}
	third, err := innkeeper.NewIdempotencyKey(key, 3)
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]innkeeper.IdempotencyKey{
		"":                               {},
		`"` + key + `"`:                  same,
		` "` + key + `" `:                same,
		key:                              same,
		`"` + key + `";generation=3`:     third,
		`"` + key + `"; generation=3`:    third,
		key + ";generation=3":            third,
		key + `;generation=3;future="x"`: third,
	} {
		if got, err := parseIdempotencyKey(header); err != nil || got != want {
			t.Errorf("%q gave %v, %v", header, got, err)
		}
	}
	for _, header := range []string{
		"short", `"short"`, `"` + strings.Repeat("a", 256) + `"`, `"` + key, key + `"`, `"` + key + `", "` + key + `"`,
		`"` + key + `";generation=0`, `"` + key + `";generation=-1`, `"` + key + `";generation=4294967296`,
		`"` + key + `";generation="3"`, `"` + key + `";generation`, `"schlüssel-schlüssel"`, key + "\x00",
	} {
		if got, err := parseIdempotencyKey(header); err == nil {
			t.Errorf("%q was accepted as %v", header, got)
		}
	}
}

func FuzzParseIdempotencyKey(f *testing.F) {
	for _, seed := range []string{"", "0123456789abcdef", `"0123456789abcdef";generation=3`, `"`, `""`, `a;generation=1`, `"\"";x`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		key, err := parseIdempotencyKey(header)
		if err != nil && key != (innkeeper.IdempotencyKey{}) {
			t.Fatalf("%q gave both a key and %v", header, err)
		}
	})
}

func TestClientAddr(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, test := range map[string]struct {
		trusted   []netip.Prefix
		remote    string
		forwarded []string
		want      string
	}{
		"direct":                             {nil, "192.0.2.1:5", nil, "192.0.2.1"},
		"nobody is trusted":                  {nil, "10.0.0.1:5", []string{"198.51.100.7"}, "10.0.0.1"},
		"liar without a proxy":               {proxies, "192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"},
		"one proxy":                          {proxies, "10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"two proxies":                        {proxies, "10.0.0.1:5", []string{"198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		"two proxies, two headers":           {proxies, "10.0.0.1:5", []string{"198.51.100.7", "10.0.0.2"}, "198.51.100.7"},
		"a client that lies":                 {proxies, "10.0.0.1:5", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		"a client that claims to be a proxy": {proxies, "10.0.0.1:5", []string{"203.0.113.9, 10.9.9.9, 198.51.100.7"}, "198.51.100.7"},
		"garbage":                            {proxies, "10.0.0.1:5", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		"proxy without the header":           {proxies, "10.0.0.1:5", nil, "10.0.0.1"},
		"IPv6":                               {proxies, "[fd00::1]:5", []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv4 in IPv6":                       {proxies, "[::ffff:10.0.0.1]:5", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		"no address":                         {proxies, "@", []string{"198.51.100.7"}, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clientAddr(test.trusted, test.remote, test.forwarded).String(); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
		})
	}
}

func FuzzCookies(f *testing.F) {
	c, err := newCookies(CookieScopePath)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", c.name + "=ikr_x", c.name + "=a; " + c.name + "=b", "=" + c.name + "=x", c.name, ";;;", `x="` + c.name + `=y"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		for _, value := range c.read(header) {
			if !strings.Contains(header, value) {
				t.Fatalf("%q gave %q", header, value)
			}
		}
	})
}

func FuzzClientAddr(f *testing.F) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Add("10.0.0.1:5", "198.51.100.7, 10.0.0.2")
	f.Add("192.0.2.1:5", "198.51.100.7")
	f.Add("@", ",,,")
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		peer, err := netip.ParseAddrPort(remote)
		got := clientAddr(proxies, remote, []string{forwarded})
		if err == nil && !isTrusted(proxies, peer.Addr().Unmap()) && got != peer.Addr().Unmap() {
			t.Fatalf("%s, who is no proxy of ours, made itself %s with %q", remote, got, forwarded)
		}
	})
}

func TestHeaderText(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		"ada":                  "ada",
		"a+b@example.com":      "a+b@example.com",
		"jörg@example.com":     "j%C3%B6rg@example.com",
		"100%":                 "100%25",
		"a b":                  "a%20b",
		"a\r\nX-Auth-Roles: x": "a%0D%0AX-Auth-Roles:%20x",
		"\x00\x7f\xff":         "%00%7F%FF",
	} {
		got := headerText(text)
		if got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
		if back, err := url.PathUnescape(got); err != nil || back != text {
			t.Errorf("%q came back as %q, %v", text, back, err)
		}
	}
}
