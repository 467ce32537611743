package main

import (
	"bytes"
	"slices"
	"strings"
)

// mutation spoils a request in one way.
type mutation struct {
	name  string
	spoil func(a *author, d *draft)
}

// mutations are all that there are. What they make need not be wrong: the description
// has to know an answer to everything.
var mutations = []mutation{
	{"another value of a member", func(a *author, d *draft) {
		if len(d.object) > 0 {
			d.object[a.IntN(len(d.object))].value = a.odd()
		}
	}},
	{"a member is missing", func(a *author, d *draft) {
		if len(d.object) > 0 {
			d.object = slices.Delete(d.object, 0, 1+a.IntN(len(d.object)))
		}
	}},
	{"an unknown member", func(a *author, d *draft) { d.object = append(d.object, member{a.oddName(), a.odd()}) }},
	{"a member is there twice", func(a *author, d *draft) {
		if len(d.object) > 0 {
			d.object = append(d.object, pick(a.dice, d.object))
		}
	}},
	{"a member in another case", func(a *author, d *draft) {
		if len(d.object) > 0 {
			m := &d.object[a.IntN(len(d.object))]
			m.name = strings.ToUpper(m.name)
		}
	}},
	{"another body", func(a *author, d *draft) {
		d.body = []byte(pick(a.dice, []string{
			"", "null", "[]", "[{}]", `""`, "0", "true", "{", "}", "{}{}", "{}x", `{"":""}`, `{"a"}`, `{a:1}`, `{'a':1}`, "\xef\xbb\xbf{}", "{}\x00", "\x00", "\xff\xfe{\x00}\x00",
			strings.Repeat("[", 5000), strings.Repeat(`{"a":`, 5000), `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}",
			"a=1&a=2", "%zz", "a=%zz", "&&&==", "a;b", strings.Repeat("a&", 5000), strings.Repeat("a", 64<<10), strings.Repeat(" ", 64<<10) + "{}",
		}))
	}},
	{"a damaged body", func(a *author, d *draft) {
		body := bytes.Clone(d.content())
		if len(body) == 0 {
			return
		}
		at := a.IntN(len(body))
		switch a.IntN(4) {
		case 0:
			body = body[:at]
		case 1:
			body[at] ^= 1 << a.IntN(8)
		case 2:
			body = slices.Insert(body, at, []byte(pick(a.dice, oddTexts))...)
		case 3:
			body = slices.Delete(body, at, min(len(body), at+1+a.IntN(4)))
		}
		d.body = body
	}},
	{"another type of body", func(a *author, d *draft) {
		d.mediaType = pick(a.dice, []string{
			"", "text/plain", formType, "application/json", "application/json; charset=utf-16", "Application/JSON", "application/json;", "application/json; ;",
			"application/problem+json", "multipart/form-data; boundary=x", "application/xml", "application/cbor", "text/plain; application/json", "application/json, text/plain", "/", "*/*", "json",
			"application/json; charset=\"", formType + "; charset=utf-7", "\xff", strings.Repeat("a", 3000),
		})
	}},
	{"a form for JSON, or the other way round", func(_ *author, d *draft) { d.isForm = !d.isForm }},
	{"chunks", func(_ *author, d *draft) { d.chunked = true }},
	{"another method", func(a *author, d *draft) {
		d.method = pick(a.dice, []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "get", "X"})
	}},
	{"another path", func(a *author, d *draft) { d.path = a.oddPath(d.path) }},
	{"another thing in the path", func(a *author, d *draft) {
		segments := strings.Split(d.path, "/")
		at := a.IntN(len(segments))
		segments[at] = escapeAll(pick(a.dice, oddTexts))
		d.path = strings.Join(segments, "/")
	}},
	{"another parameter", func(a *author, d *draft) {
		if len(d.operation.Parameters) > 0 && a.percent(80) {
			d.query = append(d.query, pair{pick(a.dice, d.operation.Parameters).Name, plain(a.odd())})
			return
		}
		d.query = append(d.query, pair{a.oddName(), plain(a.odd())})
	}},
	{"another query", func(a *author, d *draft) {
		d.rawQuery = pick(a.dice, []string{
			"%zz", "a=%", "a;b", "&&", "=", "?", "access_token=" + pick(a.dice, a.bag["access"]), "after=1&after=2", "limit=99999999999999999999", "since=now", "role=", "wait=1ms&wait=1ms", "wait=-1s", "wait=1h",
			"emergency=yes", "emergency=1", "overlap=-1", "overlap=1e3", "kind=" + strings.Repeat("x", 3000), strings.Repeat("kind=x&", 500), "user[]=1", "after[a]=1", "order=OLDEST", "state=",
		})
	}},
	{"another origin", func(a *author, d *draft) {
		d.set("Origin", pick(a.dice, []string{"null", "https://evil.example", app, issuer, app + ".evil.example", "", "*", "https://", "file://", "\xff"}))
	}},
	{"another site", func(a *author, d *draft) {
		d.set("Sec-Fetch-Site", pick(a.dice, []string{"cross-site", "same-site", "same-origin", "none", "", "SAME-ORIGIN", "x"}))
	}},
	{"a preflight", func(a *author, d *draft) {
		d.method = "OPTIONS"
		d.set("Origin", pick(a.dice, []string{app, "https://evil.example", "null"}))
		d.set("Access-Control-Request-Method", pick(a.dice, []string{"POST", "DELETE", "TRACE", ""}))
		d.set("Access-Control-Request-Headers", pick(a.dice, []string{"content-type,idempotency-key", "x-evil", "", ",,,"}))
	}},
	{"other cookies", func(a *author, d *draft) {
		for range 1 + a.IntN(3) {
			d.add("Cookie", pick(a.dice, []string{refreshCookie, "__secure-innkeeper-refresh", "__Host-innkeeper-refresh", "", "=" + refreshCookie, "innkeeper-hint"})+
				pick(a.dice, []string{"=", "", "==", "= "})+a.token())
		}
	}},
	{"another authorization", func(a *author, d *draft) {
		value := pick(a.dice, []string{"Bearer ", "bearer ", "Basic ", "Bearer  ", "DPoP ", "", "Bearer,", "Digest "}) + a.token()
		if a.percent(30) {
			d.add("Authorization", value)
			return
		}
		d.set("Authorization", value)
	}},
	{"no authorization", func(_ *author, d *draft) {
		d.header = slices.DeleteFunc(d.header, func(h pair) bool { return h.name == "Authorization" })
	}},
	{"another idempotency key", func(a *author, d *draft) {
		d.set("Idempotency-Key", pick(a.dice, []string{
			`"short"`, `"fuzz-key-000000001";generation=1`, `"fuzz-key-000000001";generation=2`, `"fuzz-key-000000001";generation=0`, `fuzz-key-000000002`, `"`, `"a", "b"`, "1", "?1", ":YQ==:", strings.Repeat("k", 300), "\xff",
		}))
	}},
	{"a header that is nearly well formed", func(a *author, d *draft) {
		name := pick(a.dice, []string{"Accept", "Content-Type", "Idempotency-Key", "Cookie", "Authorization", "Origin", "X-Forwarded-For"})
		if name == "Content-Type" {
			d.mediaType = a.soup(`;,="/ *q0.-x`)
			return
		}
		d.set(name, a.soup(`;,="/ *q0.-x`))
	}},
	{"headers that mean something elsewhere", func(a *author, d *draft) {
		d.add(pick(a.dice, []string{
			"Accept", "Accept-Encoding", "Accept-Language", "X-HTTP-Method-Override", "X-Forwarded-For", "X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL", "Forwarded", "Range", "If-None-Match", "If-Match", "Content-Encoding", "Content-Language",
			"Upgrade", "TE", "Prefer", "DPoP", "traceparent", "Priority",
		}), pick(a.dice, []string{"*/*", "text/html", "x;,y", ";;,", "json", "application/json;q=0", "gzip", "bytes=0-1", "DELETE", "*", "127.0.0.1", "/admin/users", "websocket", "\xff", "", strings.Repeat("a,", 2000)}))
	}},
}

// oddTexts are values that somebody has stumbled over.
var oddTexts = []string{
	"", " ", "\x00", "\xff", "\xed\xa0\x80", "\ufeff", "\u202e", "é", "e\u0301", "İ", "ﬀ", "𝕒𝕕𝕒", "🏨", "..", ".", "/", "../../etc/passwd", "%2e%2e", "%", "'", `"`, "\\", "<script>alert(1)</script>", "' OR 1=1 --",
	"${jndi:ldap://x}", "{{7*7}}", "null", "undefined", "NaN", "true", "-1", "0", "1e400", "99999999999999999999", "2147483648", "a\r\nX-Evil: 1", "a\tb", "ADA", "ada ", "admin", "*", "ikr_", "iks_", "whsec_", "AAAAAAAAAAAAAAAAAAAAAA",
	"9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "-292277022399-01-01T00:00:00Z", "https://user:secret@hooks.example", "http://127.0.0.1", "http://[::1", "javascript:alert(1)", "fe80::1%eth0", "::ffff:1.2.3.4",
}

func (a *author) oddName() string {
	return pick(a.dice, []string{"", "$schema", "__proto__", "constructor", "id", "roles", "is_admin", "username", "Username", "password", "scope", "\x00", "é", strings.Repeat("n", 300)})
}

// soup is made of the characters that parsers look for.
func (a *author) soup(alphabet string) string {
	b := make([]byte, 1+a.IntN(12))
	for i := range b {
		b[i] = alphabet[a.IntN(len(alphabet))]
	}
	return string(b)
}

// odd is any value but the right one.
func (a *author) odd() any {
	switch a.IntN(9) {
	case 0:
		return nil
	case 1:
		return a.percent(50)
	case 2:
		return raw(pick(a.dice, []string{"0", "-1", "1.5", "1e400", "-0", "9223372036854775808", "123456789012345678901234567890", "1E+2", "4294967296", "253402300800", "01", "NaN", "+1"}))
	case 3:
		return raw(pick(a.dice, []string{"[]", "{}", "[null]", `[""]`, `["a","a"]`, `{"a":1}`, "[[[[[]]]]]", `["` + strings.Repeat(`","`, 50) + `"]`}))
	case 4:
		return strings.Repeat(pick(a.dice, []string{"a", "é", "\u202e", "🏨"}), 1<<a.IntN(12))
	case 5:
		return raw(pick(a.dice, []string{`"\ud800"`, `"\u0000"`, `"\x"`, "\"\xff\"", `"\`, `"a` + "\n" + `b"`}))
	case 6:
		return strings.Repeat("x", 66<<10)
	}
	return pick(a.dice, oddTexts)
}

// token is a credential of some kind, or nearly one.
func (a *author) token() string {
	if a.percent(20) {
		return pick(a.dice, oddTexts)
	}
	token := pick(a.dice, a.bag[pick(a.dice, []string{"access", "access:admin", "refresh:body", "refresh:cookie", "secret"})])
	if a.percent(40) && token != "" {
		at := a.IntN(len(token))
		token = token[:at] + pick(a.dice, []string{"A", "", ".", "=", "\xff", " "}) + token[min(len(token), at+1):]
	}
	return token
}

// oddPath spells a path as some proxies and some servers would not.
func (a *author) oddPath(path string) string {
	at := 0
	if slashes := strings.Count(path, "/"); slashes > 0 {
		for range 1 + a.IntN(slashes) {
			at += 1 + strings.Index(path[at:], "/")
		}
	}
	return pick(a.dice, []string{
		path + "/", "/" + path, path[:at] + "/" + path[at:], path[:at] + "./" + path[at:], path[:at] + "x/../" + path[at:], path[:at] + "%2e%2e/" + path[at:], path[:at] + "..;/" + path[at:],
		strings.ToUpper(path), path + ";jsessionid=1", path + "%00", path + "%20", path + ".json", strings.Replace(path, "/", "%2f", 2), strings.ReplaceAll(path, "/", "\\"),
		"http://evil.example" + path, "http://inn.example" + path, "*", "/", "/auth", "/auth/", "/admin", "/.well-known/", "/oauth/x", path + "%ff", "/%2e" + path, path + "/x",
	})
}

// escapeAll writes every byte of a segment in hexadecimal, so that it arrives whatever it is.
func escapeAll(text string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(text) {
		b.Write([]byte{'%', hex[text[i]>>4], hex[text[i]&15]})
	}
	return b.String()
}

// spoil does one to three things to a request.
func (a *author) spoil(d *draft) {
	for range 1 + a.IntN(3) {
		m := pick(a.dice, mutations)
		m.spoil(a, d)
		d.spoiled = append(d.spoiled, m.name)
	}
}
