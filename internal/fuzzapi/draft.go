package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/innkeeper-auth/innkeeper/internal/openapi"
)

// draft is a request before it is written down.
type draft struct {
	operation *openapi.Operation // that it was made for; it may lead elsewhere
	method    string
	path      string // escaped
	query     []pair
	rawQuery  string // instead of query, if there is any
	header    []pair
	mediaType string
	object    object // the members of the body
	isForm    bool
	body      []byte // instead of object, if it is not nil
	chunked   bool
	hangUp    bool     // the client is gone before the store is asked, so that it does not answer
	spoiled   []string // what was done to it
}

type pair struct{ name, value string }

// object is a JSON object that may name a member twice.
type object []member

type member struct {
	name  string
	value any
}

// raw is JSON, or what is taken for it.
type raw string

func encode(b *bytes.Buffer, value any) {
	switch v := value.(type) {
	case object:
		b.WriteByte('{')
		for i, m := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			encode(b, m.name)
			b.WriteByte(':')
			encode(b, m.value)
		}
		b.WriteByte('}')
	case raw:
		b.WriteString(string(v))
	default:
		text, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("value %v of a request: %v", v, err))
		}
		b.Write(text)
	}
}

// content returns the body.
func (d *draft) content() []byte {
	switch {
	case d.body != nil:
		return d.body
	case d.object == nil:
		return nil
	}
	var b bytes.Buffer
	if !d.isForm {
		encode(&b, d.object)
		return b.Bytes()
	}
	for i, m := range d.object {
		if i > 0 {
			b.WriteByte('&')
		}
		text, ok := m.value.(string)
		if !ok {
			var v bytes.Buffer
			encode(&v, m.value)
			text = v.String()
		}
		b.WriteString(url.QueryEscape(m.name) + "=" + url.QueryEscape(text))
	}
	return b.Bytes()
}

// target is what stands in the request line.
func (d *draft) target() string {
	query := d.rawQuery
	if query == "" {
		parts := make([]string, len(d.query))
		for i, p := range d.query {
			parts[i] = url.QueryEscape(p.name) + "=" + url.QueryEscape(p.value)
		}
		query = strings.Join(parts, "&")
	}
	if query == "" {
		return d.path
	}
	return d.path + "?" + query
}

// set replaces a header.
func (d *draft) set(name, value string) {
	for i := range d.header {
		if d.header[i].name == name {
			d.header[i].value = value
			return
		}
	}
	d.add(name, value)
}

func (d *draft) add(name, value string) { d.header = append(d.header, pair{name, value}) }

// text is the request as it travels (RFC 9112).
func (d *draft) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: inn.example\r\nUser-Agent: fuzzapi\r\n", d.method, d.target())
	if d.mediaType != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", oneLine(d.mediaType))
	}
	for _, h := range d.header {
		fmt.Fprintf(&b, "%s: %s\r\n", h.name, oneLine(h.value))
	}
	body := d.content()
	switch {
	case d.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		if len(body) > 0 {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(body), body)
		}
		b.WriteString("0\r\n\r\n")
	case body != nil:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	default:
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// oneLine keeps a value from becoming two headers, which would be another request.
// What is no HTTP is the business of the tests of attacks.
func oneLine(value string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, value)
}
