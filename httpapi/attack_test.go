package httpapi_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

// attack is a request that somebody might try, and what has to come of it. It is sent
// as text to a real server.
//
// In all its texts {ada} stands for good credentials without the closing brace,
// {cookie}, {refresh} and {access} for tokens of ada, and {eve} for a refresh cookie of
// another session.
type attack struct {
	name   string // begins with the item of the checklist, as in docs/threat-model.md
	method string // empty: POST
	target string
	header []string // lines; none says the type of the body: application/json
	body   string
	raw    string // instead of all above

	status int
	code   string // "code" of a problem, "error" of OAuth; empty: none
	spends bool   // the attack uses up ada's tokens, rightly
}

// TestAttacks tries everything in the tables below. Besides the answer it looks at what
// all attacks must have in common: a refusal has used nothing up, says nothing of
// tokens (B6), and redirects nobody (T25).
func TestAttacks(t *testing.T) {
	var api http.Handler
	inn := innkeepertest.New(t, &innkeepertest.Options{
		SignupOpen: true, API: httpapi.Config{AllowedOrigins: []string{app}}, Wrap: func(h http.Handler) http.Handler { api = h; return h },
	})
	inn.AddUser("ada")
	target := serve(t, httpapi.NewServer("", api))
	for _, attacks := range [][]attack{
		cookieAttacks(), originAttacks(), typeAttacks(), methodAttacks(), jsonAttacks(), framingAttacks(), headerAttacks(), pathAttacks(), credentialAttacks(),
	} {
		for _, attack := range attacks {
			t.Run(attack.name, func(t *testing.T) {
				session, cookie := inn.SignIn("ada"), cookieLogin(t, inn)
				fill := strings.NewReplacer(
					"{ada}", credentials, "{access}", session.AccessToken, "{refresh}", session.RefreshToken,
					"{cookie}", cookie, "{eve}", cookieLogin(t, inn),
				)
				a := exchange(t, dial(t, target), attack.text(fill))
				if got := a.refusal(); a.status != attack.status || got != attack.code {
					t.Fatalf("got %d %s, want %d %s: %s", a.status, got, attack.status, attack.code, a.text)
				}
				if a.header.Get("Location") != "" || a.header.Get("X-Content-Type-Options") == "" && a.status != 400 && a.status < 417 {
					t.Errorf("the headers are %v", a.header)
				}
				if a.status >= 400 && (strings.Contains(a.text, session.RefreshToken) || strings.Contains(a.text, session.AccessToken) || strings.Contains(a.text, cookie)) {
					t.Errorf("the refusal repeats a token: %s", a.text)
				}
				if attack.spends {
					return
				}
				inn.Refresh(session)
				request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", refreshCookie+"="+cookie).want(t, 200, "")
			})
		}
	}
}

// refusal is the code of a problem or the error of OAuth.
func (a answer) refusal() string {
	for _, name := range []string{"code", "error"} {
		if text, ok := a.body[name].(string); ok {
			return text
		}
	}
	return ""
}

// text is the request as it is sent.
func (a *attack) text(fill *strings.Replacer) string {
	if a.raw != "" {
		return fill.Replace(a.raw)
	}
	method := a.method
	if method == "" {
		method = "POST"
	}
	header := a.header
	if header == nil {
		header = []string{"Content-Type: application/json"}
	}
	body := fill.Replace(a.body)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: inn.example\r\n", method, fill.Replace(a.target))
	for _, line := range header {
		b.WriteString(fill.Replace(line) + "\r\n")
	}
	if body != "" || method == "POST" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	return b.String() + "\r\n" + body
}

const typed = "Content-Type: application/json"

func cookieAttacks() []attack {
	refresh := func(name string, status int, code string, cookies ...string) attack {
		return attack{name: name, target: "/auth/refresh", header: append([]string{typed}, cookies...), status: status, code: code, spends: status == 200}
	}
	const own, bad = "__Secure-innkeeper-refresh={cookie}", "__Secure-innkeeper-refresh=ikr_tossed"
	return []attack{
		refresh("K6 tossed garbage, first", 200, "", "Cookie: "+bad+"; "+own),
		refresh("K6 tossed garbage, last", 200, "", "Cookie: "+own+"; "+bad),
		refresh("K6 tossed cookie of another session", 400, "invalid_request", "Cookie: __Secure-innkeeper-refresh={eve}; "+own),
		refresh("K6 tossed, in a header of its own", 400, "invalid_request", "Cookie: __Secure-innkeeper-refresh={eve}", "Cookie: "+own),
		refresh("K6 cookies in two headers", 200, "", "Cookie: a=b", "Cookie: "+own),
		refresh("K6 the same twice", 200, "", "Cookie: "+own+"; "+own),
		refresh("K6 a thousand cookies", 200, "", "Cookie: "+strings.Repeat("a=b; ", 1000)+own),
		refresh("K2 prefix in lower case", 401, "refresh_token_missing", "Cookie: __secure-innkeeper-refresh={cookie}"),
		refresh("K2 prefix in upper case", 401, "refresh_token_missing", "Cookie: __SECURE-innkeeper-refresh={cookie}"),
		refresh("K2 name in another case", 401, "refresh_token_missing", "Cookie: __Secure-Innkeeper-Refresh={cookie}"),
		refresh("K2 the other prefix", 401, "refresh_token_missing", "Cookie: __Host-innkeeper-refresh={cookie}"),
		refresh("K2 the other prefix in lower case", 401, "refresh_token_missing", "Cookie: __host-innkeeper-refresh={cookie}"),
		refresh("K2 no prefix", 401, "refresh_token_missing", "Cookie: innkeeper-refresh={cookie}"),
		refresh("K5 nameless", 401, "refresh_token_missing", "Cookie: =__Secure-innkeeper-refresh={cookie}"),
		refresh("K5 nameless, without the sign", 401, "refresh_token_missing", "Cookie: {cookie}"),
		refresh("K5 the name alone", 401, "refresh_token_invalid", "Cookie: __Secure-innkeeper-refresh"),
		refresh("K5 in another cookie's value", 401, "refresh_token_missing", `Cookie: a="__Secure-innkeeper-refresh={cookie}"`),
		refresh("K1 huge", 401, "refresh_token_invalid", "Cookie: __Secure-innkeeper-refresh="+strings.Repeat("a", 5000)),
		refresh("K8 a token for the body", 401, "refresh_token_invalid", "Cookie: __Secure-innkeeper-refresh={refresh}"),
		refresh("K8 the hint", 401, "refresh_token_missing", "Cookie: innkeeper-hint={cookie}"),
		{name: "K8 cookie and body", target: "/auth/refresh", header: []string{typed, "Cookie: " + own}, body: `{"refresh_token":"{refresh}"}`, status: 400, code: "invalid_request"},
		{name: "K8 a cookie's token in the body", target: "/auth/refresh", body: `{"refresh_token":"{cookie}"}`, status: 401, code: "refresh_token_invalid"},
		{name: "B1 a cookie where a bearer belongs", method: "GET", target: "/auth/me", header: []string{"Cookie: " + own}, status: 401, code: "access_token_invalid"},
		{name: "B1 a cookie for administrators", method: "GET", target: "/admin/users", header: []string{"Cookie: " + own}, status: 401, code: "access_token_invalid"},
		{name: "T15 a cookie at /oauth/token", target: "/oauth/token", header: []string{"Content-Type: " + oauthForm, "Cookie: " + own}, body: "grant_type=refresh_token", status: 400, code: "invalid_request"},
	}
}

func originAttacks() []attack {
	refresh := func(name string, status int, code string, lines ...string) attack {
		header := append([]string{typed, "Cookie: __Secure-innkeeper-refresh={cookie}"}, lines...)
		return attack{name: name, target: "/auth/refresh", header: header, status: status, code: code, spends: status == 200}
	}
	const evil = "Origin: https://evil.example"
	return []attack{
		refresh("K11 no page at all", 200, ""),
		refresh("K11 same origin", 200, "", "Sec-Fetch-Site: same-origin"),
		refresh("K11 typed in", 200, "", "Sec-Fetch-Site: none"),
		refresh("K11 an allowed origin", 200, "", "Sec-Fetch-Site: cross-site", "Origin: "+app),
		refresh("K9 a sibling subdomain", 403, "cross_site_request", "Sec-Fetch-Site: same-site"),
		refresh("K9 a sibling subdomain, by name", 403, "cross_site_request", "Sec-Fetch-Site: same-site", "Origin: https://blog.inn.example"),
		refresh("K11 another site", 403, "cross_site_request", "Sec-Fetch-Site: cross-site", evil),
		refresh("K11 another site, old browser", 403, "cross_site_request", evil),
		refresh("K11 null", 403, "cross_site_request", "Origin: null"),
		refresh("K11 null, same-site", 403, "cross_site_request", "Origin: null", "Sec-Fetch-Site: same-site"),
		refresh("K11 empty", 403, "cross_site_request", "Sec-Fetch-Site: ,"),
		refresh("K11 two origins", 403, "cross_site_request", evil, "Origin: "+app),
		refresh("K14 an allowed origin and more", 403, "cross_site_request", "Origin: "+app+".evil.example"),
		refresh("K14 an allowed origin before the @", 403, "cross_site_request", "Origin: "+app+"@evil.example"),
		refresh("K14 an allowed origin over http", 403, "cross_site_request", "Origin: http://app.example.com"),
		refresh("K14 an allowed origin in upper case", 403, "cross_site_request", "Origin: HTTPS://APP.EXAMPLE.COM"),
		{name: "K9 body-less refresh", target: "/auth/refresh", header: []string{"Cookie: __Secure-innkeeper-refresh={cookie}"}, status: 415, code: "invalid_request"},
		{name: "K9 body-less logout", target: "/auth/logout", header: []string{"Cookie: __Secure-innkeeper-refresh={cookie}"}, status: 415, code: "invalid_request"},
		{name: "K9 body-less, from another site", target: "/auth/logout", header: []string{evil, "Cookie: __Secure-innkeeper-refresh={cookie}"}, status: 403, code: "cross_site_request"},
		{name: "K12 login from another site", target: "/auth/login", header: []string{typed, evil}, body: "{ada}}", status: 403, code: "cross_site_request"},
		{name: "K12 sign-up from another site", target: "/auth/signup", header: []string{typed, "Sec-Fetch-Site: same-site"}, body: "{ada}}", status: 403, code: "cross_site_request"},
		{name: "K12 logout from another site", target: "/auth/logout", header: []string{typed, evil, "Cookie: __Secure-innkeeper-refresh={cookie}"}, body: "{}", status: 403, code: "cross_site_request"},
		{name: "K12 a form to /oauth from another site", target: "/oauth/revoke", header: []string{"Content-Type: " + oauthForm, evil}, body: "token={refresh}", status: 403, code: "invalid_request"},
		{name: "K12 administrators from another site", method: "DELETE", target: "/admin/users/x", header: []string{evil, "Authorization: Bearer {access}"}, status: 403, code: "cross_site_request"},
		{name: "K10 logout by a link", method: "GET", target: "/auth/logout", header: []string{"Cookie: __Secure-innkeeper-refresh={cookie}"}, status: 405, code: "invalid_request"},
		{name: "K10 refresh by an image", method: "GET", target: "/auth/refresh", header: []string{"Cookie: __Secure-innkeeper-refresh={cookie}", "Sec-Fetch-Dest: image"}, status: 405, code: "invalid_request"},
		{name: "K14 preflight of another site", method: "OPTIONS", target: "/auth/refresh", header: []string{evil, "Access-Control-Request-Method: POST", "Cookie: __Secure-innkeeper-refresh={cookie}"}, status: 204},
	}
}

func typeAttacks() []attack {
	login := func(name string, status int, code, body string, header ...string) attack {
		return attack{name: name, target: "/auth/login", header: append([]string{"X: y"}, header...), body: body, status: status, code: code}
	}
	var wide bytes.Buffer
	for _, c := range utf16.Encode([]rune(credentials + "}")) {
		wide.Write([]byte{byte(c), byte(c >> 8)})
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte(credentials + "}"))
	_ = w.Close()
	attacks := []attack{
		login("E1 a parameter that JSON does not have", 200, "", "{ada}}", "Content-Type: application/json; charset=utf-16"),
		login("E1 type in upper case", 200, "", "{ada}}", "CONTENT-TYPE: APPLICATION/JSON"),
		login("E1 UTF-16", 400, "invalid_request", wide.String(), "Content-Type: application/json; charset=utf-16"),
		login("E1 zipped", 400, "invalid_request", zipped.String(), typed, "Content-Encoding: gzip"),
		login("T2 JSON at /oauth", 400, "invalid_request", `{"token":"{refresh}"}`, typed),
		login("T2 a form in another charset", 400, "unsupported_grant_type", "grant_type=password", "Content-Type: "+oauthForm+"; charset=utf-7"),
		login("T2 a form, and then JSON", 400, "invalid_request", "grant_type=refresh_token&refresh_token={refresh}", "Content-Type: "+oauthForm, typed),
		login("T2 a form, twice", 400, "invalid_request", "grant_type=refresh_token&refresh_token={refresh}", "Content-Type: "+oauthForm, "Content-Type: "+oauthForm),
		login("T2 JSON, and then a form", 400, "invalid_request", "grant_type=refresh_token&refresh_token={refresh}", typed, "Content-Type: "+oauthForm),
		login("T2 no type", 400, "invalid_request", "grant_type=refresh_token&refresh_token={refresh}"),
		login("T2 a form of several parts", 400, "invalid_request", "--x\r\n", "Content-Type: multipart/form-data; boundary=x"),
	}
	for _, mediaType := range []string{
		"", "text/plain", "text/plain; application/json", "application/json, text/plain", "application/json;,", "application/jsonx", "application/problem+json", oauthForm, "multipart/form-data; boundary=x", "application/cbor", "json", "*/*", "\xff",
	} {
		attacks = append(attacks, login("K14 JSON as "+mediaType, 415, "invalid_request", "{ada}}", "Content-Type: "+mediaType))
	}
	for i := range attacks {
		if strings.HasPrefix(attacks[i].name, "T2") {
			attacks[i].target = "/oauth/token"
		}
	}
	return append(attacks,
		login("K14 no type", 415, "invalid_request", "{ada}}"),
		login("K14 two types", 415, "invalid_request", "{ada}}", typed, "Content-Type: text/plain"),
		attack{name: "T2 two types of a revocation", target: "/oauth/revoke", header: []string{"Content-Type: " + oauthForm, typed}, body: "token={refresh}", status: 400, code: "invalid_request"},
		attack{name: "T2 two types of an introspection", target: "/oauth/introspect", header: []string{"Content-Type: " + oauthForm, typed}, body: "token={refresh}", status: 400, code: "invalid_request"},
		attack{name: "K14 text for a password", target: "/auth/password", header: []string{"Content-Type: text/plain", "Authorization: Bearer {access}"}, body: `{}`, status: 415, code: "invalid_request"},
	)
}

func methodAttacks() []attack {
	var attacks []attack
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "post", "X"} {
		code := "invalid_request"
		if method == "HEAD" {
			code = ""
		}
		attacks = append(attacks, attack{name: "T1 " + method + " of a login", method: method, target: "/auth/login", body: "{ada}}", status: 405, code: code})
		attacks = append(attacks, attack{name: "T1 " + method + " of a token", method: method, target: "/oauth/token?grant_type=refresh_token&refresh_token={refresh}", header: []string{}, status: 405, code: code})
	}
	bearer := "Authorization: Bearer {access}"
	attacks = append(attacks,
		attack{name: "T1 HEAD of a page", method: "HEAD", target: "/auth/me", header: []string{bearer}, status: 200},
		attack{name: "T1 TRACE of a page", method: "TRACE", target: "/auth/me", header: []string{bearer}, status: 405, code: "invalid_request"},
		attack{name: "T1 CONNECT", raw: "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", status: 404, code: "not_found"},
		attack{name: "T1 OPTIONS of everything", raw: "OPTIONS * HTTP/1.1\r\nHost: inn.example\r\n\r\n", status: 404, code: "not_found"},
	)
	for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		attacks = append(attacks,
			attack{name: "K10 " + name + ", to log out", method: "GET", target: "/auth/logout", header: []string{name + ": POST", bearer}, status: 405, code: "invalid_request"},
			attack{name: "K10 " + name + ", to delete", method: "GET", target: "/auth/sessions", header: []string{name + ": DELETE", bearer}, status: 200},
		)
	}
	return append(attacks, attack{name: "K10 _method", target: "/auth/sessions?_method=DELETE", header: []string{typed, bearer}, body: `{"_method":"DELETE"}`, status: 405, code: "invalid_request"})
}

func jsonAttacks() []attack {
	login := func(name string, status int, code, body string) attack {
		return attack{name: name, target: "/auth/login", body: body, status: status, code: code}
	}
	fits := credentials + `}`
	attacks := []attack{
		login("A12 a member twice", 400, "invalid_request", `{ada},"username":"eve"}`),
		login("A12 a member twice, once escaped", 400, "invalid_request", `{ada},"\u0075sername":"eve"}`),
		login("A12 an unknown member twice", 400, "invalid_request", `{ada},"x":{"a":1,"a":2}}`),
		login("A12 a member in another case", 200, "", `{ada},"Username":"eve"}`),
		login("E1 an unknown member", 200, "", `{ada},"is_admin":true,"__proto__":{"roles":["admin"]}}`),
		login("E1 a number beyond all bounds, unknown", 400, "invalid_request", `{ada},"x":1e400}`),
		login("E1 white space around", 200, "", " \t\r\n{ada}}\n"),
		login("E1 another value after it", 400, "invalid_request", `{ada}}{}`),
		login("E1 garbage after it", 400, "invalid_request", `{ada}}x`),
		login("E1 NUL after it", 400, "invalid_request", "{ada}}\x00"),
		login("E1 byte order mark", 400, "invalid_request", "\xef\xbb\xbf{ada}}"),
		login("E1 no UTF-8", 400, "invalid_request", "{ada},\"device\":\"\xff\"}"),
		login("E1 overlong UTF-8", 400, "invalid_request", "{ada},\"device\":\"\xc0\xaf\"}"),
		login("E1 half a surrogate pair", 400, "invalid_request", `{ada},"device":"\ud800"}`),
		login("E1 NUL in a string", 400, "invalid_request", "{ada},\"device\":\"\x00\"}"),
		login("E1 escaped NUL in a name", 401, "invalid_credentials", `{"username":"ada\u0000","password":"x"}`),
		login("E1 comment", 400, "invalid_request", `{ada}/**/}`),
		login("E1 single quotes", 400, "invalid_request", `{'username':'ada'}`),
		login("E1 nothing", 400, "invalid_request", ``),
		login("E1 null", 400, "invalid_request", `null`),
		login("E1 a list", 400, "invalid_request", `[{ada}}]`),
		login("E1 a list for a string", 400, "invalid_request", `{"username":["ada"],"password":"x"}`),
		login("E1 an object for a string", 400, "invalid_request", `{"username":{"$ne":""},"password":{"$ne":""}}`),
		login("E1 null for a string", 400, "invalid_request", `{"username":null,"password":null}`),
		login("E1 a number for a string", 400, "invalid_request", `{"username":1e400,"password":"x"}`),
		login("A19 33 deep", 400, "invalid_request", `{ada},"x":`+strings.Repeat("[", 33)+strings.Repeat("]", 33)+"}"),
		login("A19 30,000 deep", 400, "invalid_request", strings.Repeat("[", 30_000)),
		login("E1 64 KiB", 200, "", fits+strings.Repeat(" ", 64<<10-len(fits))),
		login("E1 64 KiB and one", 413, "invalid_request", fits+strings.Repeat(" ", 64<<10-len(fits)+1)),
		login("E1 1 MiB", 413, "invalid_request", strings.Repeat("a", 1<<20)),
		{name: "E1 1 MiB of form", target: "/oauth/token", header: []string{"Content-Type: " + oauthForm}, body: strings.Repeat("a", 1<<20), status: 413, code: "invalid_request"},
		{name: "T3 a parameter twice", target: "/oauth/token", header: []string{"Content-Type: " + oauthForm}, body: "grant_type=refresh_token&refresh_token={refresh}&refresh_token=x", status: 400, code: "invalid_request"},
		{name: "T3 a parameter twice, once escaped", target: "/oauth/revoke", header: []string{"Content-Type: " + oauthForm}, body: "token={refresh}&t%6fken=x", status: 400, code: "invalid_request"},
		{name: "T3 a semicolon", target: "/oauth/revoke", header: []string{"Content-Type: " + oauthForm}, body: "x=1;token={refresh}", status: 400, code: "invalid_request"},
	}
	for _, number := range []string{"NaN", "Infinity", "01", "+1", ".5", "1.", "0x1", "1e", "--1"} {
		attacks = append(attacks, login("E1 "+number+" for a number", 400, "invalid_request", `{ada},"x":`+number+`}`))
	}
	return attacks
}

func framingAttacks() []attack {
	post := func(header, body string) string {
		return "POST /auth/login HTTP/1.1\r\nHost: inn.example\r\nContent-Type: application/json\r\n" + header + "\r\n" + body
	}
	const chunked = "Transfer-Encoding: chunked\r\n"
	whole := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(credentials)+1, "{ada}}")
	attacks := []attack{
		{name: "E1 chunks", raw: post(chunked, whole), status: 200},
		{name: "E1 chunks with a lie about their length", raw: post(chunked, "5\r\n{ada}}\r\n0\r\n\r\n"), status: 400, code: "invalid_request"},
		{name: "E1 a chunk of negative length", raw: post(chunked, "-1\r\n{ada}}\r\n0\r\n\r\n"), status: 400, code: "invalid_request"},
		{name: "E1 a chunk beyond all bounds", raw: post(chunked, "fffffffffffffffff\r\n{ada}}\r\n0\r\n\r\n"), status: 400, code: "invalid_request"},
		{name: "E1 chunks beyond the limit", raw: post(chunked, "20000\r\n"+strings.Repeat("a", 0x20000)+"\r\n0\r\n\r\n"), status: 413, code: "invalid_request"},
		{name: "E1 lengths that differ", raw: post("Content-Length: 5\r\nContent-Length: 6\r\n", "{ada}}"), status: 400},
		{name: "E1 a list of lengths", raw: post("Content-Length: 5, 6\r\n", "{ada}}"), status: 400},
		{name: "E1 unknown encoding", raw: post("Transfer-Encoding: xchunked\r\n", whole), status: 501},
		{name: "E1 two encodings", raw: post("Transfer-Encoding: gzip, chunked\r\n", whole), status: 501},
		{name: "E1 chunked twice", raw: post("Transfer-Encoding: chunked, chunked\r\n", whole), status: 501},
		{name: "E1 a space before the colon", raw: post("Transfer-Encoding : chunked\r\n", whole), status: 400},
		{name: "E1 folded header", raw: post("X: a\r\n\tb\r\nContent-Length: 2\r\n", "{}"), status: 400, code: "invalid_request"},
		{name: "E1 NUL in a header", raw: post("X: a\x00b\r\n", ""), status: 400},
		{name: "E1 CR in a header", raw: post("X: a\rContent-Length: 5\r\n", ""), status: 400},
		{name: "E1 no name", raw: post(": x\r\n", ""), status: 400},
		{name: "E1 no host", raw: "GET /healthz HTTP/1.1\r\n\r\n", status: 400},
		{name: "E1 two hosts", raw: "GET /healthz HTTP/1.1\r\nHost: inn.example\r\nHost: evil.example\r\n\r\n", status: 400},
		{name: "E1 a host that is none", raw: "GET /healthz HTTP/1.1\r\nHost: inn.example evil.example\r\n\r\n", status: 400},
		{name: "E1 HTTP/9.9", raw: "GET /healthz HTTP/9.9\r\nHost: inn.example\r\n\r\n", status: 505},
		{name: "E1 HTTP/0.9", raw: "GET /healthz\r\n\r\n", status: 400},
		{name: "E1 no HTTP", raw: "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", status: 400},
		{name: "E1 an expectation", raw: post("Expect: 200-ok\r\nContent-Length: 0\r\n", ""), status: 417},
	}
	for _, length := range []string{"-1", "+5", "0x5", "5.0", "18446744073709551616", "", "five"} {
		attacks = append(attacks, attack{name: "E1 length " + length, raw: post("Content-Length: "+length+"\r\n", "{ada}}"), status: 400})
	}
	return attacks
}

func headerAttacks() []attack {
	get := func(name, target string, status int, code string, lines ...string) attack {
		return attack{name: name, method: "GET", target: target, header: lines, status: status, code: code}
	}
	const bearer = "Authorization: Bearer {access}"
	many := slices.Repeat([]string{"X: y"}, 20_000)
	attacks := []attack{
		get("E1 a header of 1 MiB", "/healthz", 431, "", "X: "+strings.Repeat("a", 1<<20)),
		get("E1 a header of 60 KiB", "/healthz", 431, "", "X: "+strings.Repeat("a", 60<<10)),
		get("E1 a name of 1 MiB", "/healthz", 431, "", strings.Repeat("a", 1<<20)+": x"),
		get("E1 20,000 headers", "/healthz", 431, "", many...),
		get("E1 a URL of 1 MiB", "/"+strings.Repeat("a", 1<<20), 431, ""),
		get("E1 a token of 20 KB", "/auth/me", 401, "access_token_invalid", "Authorization: Bearer "+strings.Repeat("a", 20_000)),
		get("T25 X-Forwarded-Host", "/.well-known/oauth-authorization-server", 200, "", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Forwarded: host=evil.example"),
		get("T25 X-Original-URL", "/healthz", 200, "", "X-Original-URL: /admin/users", "X-Rewrite-URL: /admin/users"),
		get("E1 a part", "/auth/me", 200, "", bearer, "Range: bytes=0-1"),
		get("E1 if it is new", "/auth/me", 200, "", bearer, "If-None-Match: *"),
		get("E1 another protocol", "/auth/me", 200, "", bearer, "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
		get("E1 hop by hop", "/auth/me", 200, "", bearer, "Connection: close, Authorization"),
		{name: "E2 two idempotency keys", target: "/auth/refresh", header: []string{typed, `Idempotency-Key: "0123456789abcdef"`, `Idempotency-Key: "fedcba9876543210"`}, body: `{"refresh_token":"{refresh}"}`, status: 400, code: "invalid_request"},
		{name: "E2 two idempotency keys at /oauth", target: "/oauth/token", header: []string{"Content-Type: " + oauthForm, `Idempotency-Key: "0123456789abcdef"`, `Idempotency-Key: "fedcba9876543210"`}, body: "grant_type=refresh_token&refresh_token={refresh}", status: 400, code: "invalid_request"},
	}
	for _, accept := range []string{"text/html", "json", "application/json;q=0", "x;,y", ";,;", "*/*;q=nan", "\xff", strings.Repeat("a,", 5000)} {
		// Before, "x;,y" committed the rotation and answered 503.
		attacks = append(attacks, attack{
			name: fmt.Sprintf("E1 accepting %.20q", accept), target: "/auth/refresh", header: []string{typed, "Accept: " + accept},
			body: `{"refresh_token":"{refresh}"}`, status: 200, spends: true,
		})
	}
	return attacks
}

func pathAttacks() []attack {
	var attacks []attack
	for _, target := range []string{
		"//", "///", "/.", "/..", "//auth/me", "/auth//me", "/auth/./me", "/./auth/me", "/x/../auth/me", "/auth/x/../me", "/auth/me/", "/auth/me/.", "/auth/me/..", "/auth/%2e/me", "/x/%2e%2e/auth/me", "/x/..%2fauth/me", "/auth%2fme",
		"/auth/me;x=1", "/auth;x/me", "/..;/auth/me", "/AUTH/me", "/Auth/Me", "/auth/me%00", "/auth/me%20", "/auth/me%0d%0aX:y", "/auth/me.json", "/auth%5cme", "/auth/me%23", "/auth/me%3fx", "/auth/%6d%65/", "/auth/ｍe", "/auth/m\xff",
		"/healthz/../admin/users", "/auth/check/..%2f..%2fadmin/users", "/.well-known/jwks.json/", "/.well-known/oauth-authorization-server/x", "/openapi.json/..", "http://inn.example", "http://inn.example//auth/me",
	} {
		attacks = append(attacks, attack{name: "T25 " + target, method: "GET", target: target, header: []string{"Authorization: Bearer {access}"}, status: 404, code: "not_found"})
	}
	get := func(name, line string, status int, code string) attack {
		return attack{name: name, raw: "GET " + line + " HTTP/1.1\r\nHost: inn.example\r\nAuthorization: Bearer {access}\r\n\r\n", status: status, code: code}
	}
	return append(attacks,
		get("T25 no slash", "auth/me", 400, ""),
		get("T25 an escaped slash first", "%2fauth/me", 400, ""),
		get("T25 backslashes", `\auth\me`, 400, ""),
		get("T25 a space", "/auth/me /x", 400, ""),
		get("T25 a bad escape", "/auth/me%zz", 400, ""),
		get("T25 absolute, of another host", "http://evil.example/auth/me", 200, ""), // RFC 9112 section 3.2.2; no answer depends on it
		get("T25 another scheme", "file:///etc/passwd", 404, "not_found"),
		get("T25 an escaped letter", "/auth/%6de", 200, ""), // is that letter (RFC 3986 section 2.3)
		attack{name: "T25 dots before administrators", method: "DELETE", target: "/admin/users/..%2f..%2fauth%2fsessions", header: []string{"Authorization: Bearer {access}"}, status: 404, code: "not_found"},
		attack{name: "T25 a fragment of OAuth", target: "/oauth//token", header: []string{"Content-Type: " + oauthForm}, body: "grant_type=refresh_token&refresh_token={refresh}", status: 404, code: "invalid_request"},
	)
}

func credentialAttacks() []attack {
	me := func(name string, status int, code string, lines ...string) attack {
		return attack{name: name, method: "GET", target: "/auth/me", header: lines, status: status, code: code}
	}
	const bearer, cookie = "Authorization: Bearer {access}", "Cookie: __Secure-innkeeper-refresh={cookie}"
	form := []string{"Content-Type: " + oauthForm}
	basicAuth := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("innkeeper:"))
	return []attack{
		me("B1 nobody", 401, "access_token_invalid"),
		me("B3 scheme in lower case", 200, "", "Authorization: bearer {access}"),
		me("B3 two spaces", 400, "invalid_request", "Authorization: Bearer  {access}"),
		me("B3 a tab", 401, "access_token_invalid", "Authorization: Bearer\t{access}"),
		me("B3 no space", 401, "access_token_invalid", "Authorization: Bearer{access}"),
		me("B3 quotes", 400, "invalid_request", `Authorization: Bearer "{access}"`),
		me("B3 two headers", 400, "invalid_request", bearer, bearer),
		me("B3 two headers, another scheme first", 400, "invalid_request", basicAuth, bearer),
		me("B3 a list", 400, "invalid_request", "Authorization: Bearer {access}, Bearer {access}"),
		me("B3 a list of schemes", 401, "access_token_invalid", "Authorization: Basic x, Bearer {access}"),
		me("B2 an altered token", 401, "access_token_invalid", "Authorization: Bearer {access}A"),
		me("A20 a refresh token", 401, "access_token_invalid", "Authorization: Bearer {refresh}"),
		me("A20 another kind of token", 401, "access_token_invalid", "Authorization: DPoP {access}"),
		me("B7 a bad bearer and a good cookie", 401, "access_token_invalid", "Authorization: Bearer x", cookie),
		me("B7 a good bearer and a bad cookie", 200, "", bearer, "Cookie: __Secure-innkeeper-refresh=x"),
		{name: "B4 in the query", method: "GET", target: "/auth/me?access_token={access}", header: []string{}, status: 401, code: "access_token_invalid"},
		{name: "B4 in the header and the query", method: "GET", target: "/auth/me?access_token=x", header: []string{bearer}, status: 200},
		{name: "B4 in a form", target: "/auth/password", header: form, body: "access_token={access}", status: 415, code: "invalid_request"},
		{name: "B4 in JSON", target: "/auth/password", body: `{"access_token":"{access}"}`, status: 401, code: "access_token_invalid"},
		{name: "B7 refresh: the cookie decides", target: "/auth/refresh", header: []string{typed, cookie, "Authorization: Bearer x"}, body: "{}", status: 200, spends: true},
		{name: "B7 refresh: a bearer is nothing", target: "/auth/refresh", header: []string{typed, bearer}, body: "{}", status: 401, code: "refresh_token_missing"},
		{name: "B7 logout: both end", target: "/auth/logout", header: []string{typed, cookie, bearer}, body: "{}", status: 204, spends: true},
		{name: "B3 logout with two headers", target: "/auth/logout", header: []string{typed, bearer, bearer}, body: "{}", status: 400, code: "invalid_request"},
		{name: "A20 an access token for a refresh token", target: "/auth/refresh", body: `{"refresh_token":"{access}"}`, status: 401, code: "refresh_token_invalid"},
		{name: "T4 a refresh token in the query", target: "/auth/refresh?refresh_token={refresh}", body: "{}", status: 401, code: "refresh_token_missing"},
		{name: "T4 all of OAuth in the query", target: "/oauth/token?grant_type=refresh_token&refresh_token={refresh}", header: form, status: 400, code: "invalid_request"},
		{name: "T13 two ways to authenticate", target: "/oauth/token", header: append(slices.Clone(form), basicAuth), body: "grant_type=refresh_token&refresh_token={refresh}&client_secret=x", status: 400, code: "invalid_request"},
		{name: "T13 two headers", target: "/oauth/token", header: append(slices.Clone(form), basicAuth, basicAuth), body: "grant_type=refresh_token&refresh_token={refresh}", status: 400, code: "invalid_request"},
		{name: "T14 a wrong secret", target: "/oauth/token", header: form, body: "grant_type=refresh_token&refresh_token={refresh}&client_id=web&client_secret=x", status: 400, code: "invalid_client"},
		{name: "T24 a password", target: "/oauth/token", header: form, body: "grant_type=password&username=ada&password=x", status: 400, code: "unsupported_grant_type"},
		{name: "V8 JSONP", method: "GET", target: "/oauth/revoke?token={refresh}&callback=alert", header: []string{}, status: 405, code: "invalid_request"},
		{name: "I1 nobody asks", target: "/oauth/introspect", header: form, body: "token={refresh}", status: 401, code: "invalid_client"},
	}
}

// readAnswer reads the next answer of a connection.
func readAnswer(t *testing.T, r *bufio.Reader, text string) answer {
	t.Helper()
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method, URL: new(url.URL)})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil && resp.Header.Get("X-Content-Type-Options") != "" {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(body)}
	_ = json.Unmarshal(body, &a.body) // net/http's own answers are plain text
	return a
}

// TestSmuggling: where one request ends and the next begins is no matter of opinion
// (RFC 9112 section 6.1). The body holds a second request, for those who believe the
// length; and the connection is over, for those who go on.
func TestSmuggling(t *testing.T) {
	target := newSmall(t)
	const second = "POST /auth/logout HTTP/1.1\r\nHost: inn\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
	for name, text := range map[string]string{
		"length and chunks": "POST /auth/refresh HTTP/1.1\r\nHost: inn\r\nContent-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks and length": "POST /auth/refresh HTTP/1.1\r\nHost: inn\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, target)
			if _, err := conn.Write([]byte(text + second)); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(conn) // until the server hangs up
			if err != nil && !strings.Contains(err.Error(), "reset") {
				t.Fatal(err)
			}
			if n := strings.Count(string(rest), "HTTP/1.1 "); n != 1 {
				t.Errorf("there were %d answers: %s", n, rest)
			}
		})
	}
}

// newSmall is a server with the limits of ours, in small.
func newSmall(t *testing.T) (target string) {
	t.Helper()
	_, api := openAPI(t)
	server := httpapi.NewServer("", api)
	for _, limit := range []time.Duration{server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout} {
		if limit <= 0 || limit > 2*time.Minute {
			t.Errorf("a limit of the server is %s", limit)
		}
	}
	server.ReadHeaderTimeout, server.ReadTimeout, server.IdleTimeout = time.Second, 2*time.Second, 3*time.Second
	return serve(t, server)
}

// TestSlowloris: whoever keeps a connection without making use of it loses it, by the
// server's will alone.
func TestSlowloris(t *testing.T) {
	target := newSmall(t)
	const head = "POST /auth/login HTTP/1.1\r\nHost: inn\r\nContent-Type: application/json\r\n"
	for name, test := range map[string]struct {
		first string // sent at once
		drip  string // sent again and again
		want  string // in the answer; empty: there is none
	}{
		"nothing":              {"", "", ""},
		"half a request line":  {"GET /hea", "", "HTTP/1.1 400 "},
		"no end of headers":    {"GET /healthz HTTP/1.1\r\nHost: inn\r\n", "", ""},
		"a header at a time":   {"GET /healthz HTTP/1.1\r\nHost: inn\r\n", "X: y\r\n", ""},
		"no body":              {head + "Content-Length: 100\r\n\r\n", "", "HTTP/1.1 408 "},
		"a byte at a time":     {head + "Content-Length: 60000\r\n\r\n{", " ", "HTTP/1.1 408 "},
		"a chunk at a time":    {head + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", "HTTP/1.1 408 "},
		"no body, of a form":   {"POST /oauth/token HTTP/1.1\r\nHost: inn\r\nContent-Type: " + oauthForm + "\r\nContent-Length: 9\r\n\r\n", "", "HTTP/1.1 400 "},
		"a body for nobody":    {"GET /healthz HTTP/1.1\r\nHost: inn\r\nContent-Length: 100\r\n\r\n", "", "HTTP/1.1 200 "},
		"nothing more":         {"GET /healthz HTTP/1.1\r\nHost: inn\r\n\r\n", "", "HTTP/1.1 200 "},
		"one after the other…": {"GET /healthz HTTP/1.1\r\nHost: inn\r\n\r\nGET /hea", "", "HTTP/1.1 200 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, target)
			if _, err := conn.Write([]byte(test.first)); err != nil {
				t.Fatal(err)
			}
			over := make(chan struct{})
			dripped := make(chan struct{})
			go func() {
				defer close(dripped)
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for test.drip != "" {
					select {
					case <-over:
						return
					case <-tick.C:
						if _, err := conn.Write([]byte(test.drip)); err != nil {
							return // the server is gone
						}
					}
				}
			}()
			got, err := io.ReadAll(conn) // ends when the server hangs up, and fails after the minute of dial
			close(over)
			<-dripped
			if err != nil && !strings.Contains(err.Error(), "reset") {
				t.Fatalf("the server does not hang up: %v", err)
			}
			if !strings.HasPrefix(string(got), test.want) || test.want == "" && len(got) > 0 {
				t.Errorf("it said %q, want %q", got, test.want)
			}
		})
	}
}

// TestHostScopeLookalikes: with --cookie-scope=host only the cookie that no sibling can
// set counts (K2, K4).
func TestHostScopeLookalikes(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{API: httpapi.Config{CookieScope: httpapi.CookieScopeHost}})
	inn.AddUser("ada")
	token := setCookies(t, request(t, "POST", inn.URL+"/auth/login", credentials+`}`))["__Host-innkeeper-refresh"].Value
	for _, name := range []string{
		"__host-innkeeper-refresh", "__HOST-innkeeper-refresh", "__Secure-innkeeper-refresh", "__Host-Http-innkeeper-refresh", "=__Host-innkeeper-refresh", "innkeeper-refresh",
	} {
		request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", name+"="+token).want(t, 401, "refresh_token_missing")
	}
	request(t, "POST", inn.URL+"/auth/refresh", `{}`, "Cookie", "__host-innkeeper-refresh=x; __Host-innkeeper-refresh="+token).want(t, 200, "")
}

// TestHostIsNoIdentity: what a request says of our name changes nothing that is signed
// or said of ourselves (D2, P3).
func TestHostIsNoIdentity(t *testing.T) {
	_, api := openAPI(t)
	conn := dial(t, serve(t, httpapi.NewServer("", api)))
	a := exchange(t, conn, "GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n\r\n")
	if a.body["issuer"] != "http://localhost" || strings.Contains(a.text, "evil") {
		t.Errorf("the metadata is %s", a.text)
	}
}
