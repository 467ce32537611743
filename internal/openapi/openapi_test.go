package openapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper/internal/openapi"
)

const inn = `{"openapi":"3.1.0","paths":{
	"/rooms":{"get":{"operationId":"list","responses":{"200":{"content":{"application/json":{"schema":{"type":"array","items":{"$ref":"#/components/schemas/Room"}}}}}}}},
	"/rooms/{id}":{
		"get":{"operationId":"one","parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],
			"responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Room"}}}}}},
		"put":{"operationId":"set","requestBody":{"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Room"}}}},
			"security":[{"bearer":["rooms"]}],"responses":{"204":{}}}},
	"/rooms/free":{"get":{"operationId":"free","responses":{"204":{}}}}},
	"components":{"schemas":{"Room":{"type":"object","additionalProperties":false,"required":["beds"],
		"properties":{"beds":{"type":["integer","null"],"minimum":1},"since":{"type":"string","format":"date-time"}}}}}}`

func TestJudge(t *testing.T) {
	description, err := openapi.Read([]byte(inn))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		method, path string
		status       int
		mediaType    string
		body         string
		want         string // in the error
	}{
		"fine":                {"GET", "/rooms/1", 200, "application/json", `{"beds":2,"since":"2026-01-02T03:04:05Z"}`, ""},
		"null where it may":   {"GET", "/rooms/1", 200, "application/json", `{"beds":null}`, ""},
		"HEAD":                {"HEAD", "/rooms/1", 200, "application/json", ``, ""},
		"no body":             {"PUT", "/rooms/1", 204, "", ``, ""},
		"spelled out wins":    {"GET", "/rooms/free", 204, "", ``, ""},
		"list":                {"GET", "/rooms", 200, "application/json", `[{"beds":1}]`, ""},
		"another status":      {"GET", "/rooms/1", 404, "application/json", `{}`, "404 is not described"},
		"another type":        {"GET", "/rooms/1", 200, "text/plain", `{"beds":2}`, "which is not described"},
		"a body too many":     {"PUT", "/rooms/1", 204, "application/json", `{}`, "none is described"},
		"member too many":     {"GET", "/rooms/1", 200, "application/json", `{"beds":2,"key":1}`, "key"},
		"member missing":      {"GET", "/rooms/1", 200, "application/json", `{}`, "beds"},
		"wrong type of value": {"GET", "/rooms/1", 200, "application/json", `{"beds":"2"}`, "beds"},
		"out of bounds":       {"GET", "/rooms/1", 200, "application/json", `{"beds":0}`, "beds"},
		"no time":             {"GET", "/rooms/1", 200, "application/json", `{"beds":1,"since":"today"}`, "since"},
		"deep":                {"GET", "/rooms", 200, "application/json", `[{"beds":1},{}]`, "beds"},
		"two values":          {"GET", "/rooms/1", 200, "application/json", `{"beds":2}{}`, "no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			if test.mediaType != "" {
				header.Set("Content-Type", test.mediaType)
			}
			err := description.Find(test.method, test.path).Judge(test.method, test.status, header, []byte(test.body))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestFind(t *testing.T) {
	description, err := openapi.Read([]byte(inn))
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"GET /rooms": "list", "GET /rooms/1": "one", "HEAD /rooms/1": "one", "PUT /rooms/free": "set", "GET /rooms/fre%65": "free", "GET /rooms/a%2Fb": "one",
		"POST /rooms": "", "GET /rooms/": "", "GET //rooms": "", "GET /rooms/..": "", "GET /rooms/a%2F..": "", "GET /Rooms": "", "GET /rooms/%zz": "", "GET *": "",
	} {
		method, path, _ := strings.Cut(target, " ")
		got := ""
		if operation := description.Find(method, path); operation != nil {
			got = operation.ID
		}
		if got != want {
			t.Errorf("%s leads to %q, want %q", target, got, want)
		}
	}
}

// TestRead: what this package does not understand it refuses, or it would judge wrongly.
func TestRead(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":                `{`,
		"default response":       `{"paths":{"/":{"get":{"responses":{"default":{}}}}}}`,
		"a reference to nothing": `{"paths":{"/":{"get":{"responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/X"}}}}}}}}}`,
		"a body of two types":    `{"paths":{"/":{"post":{"requestBody":{"content":{"a/b":{},"c/d":{}}}}}}}`,
	} {
		if _, err := openapi.Read([]byte(text)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}
