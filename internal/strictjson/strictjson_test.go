package strictjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
)

type inner struct {
	Key string `json:"key"`
}

type document struct {
	Text     string            `json:"text"`
	Whole    int               `json:"whole"`
	Fraction float64           `json:"fraction"`
	Yes      bool              `json:"yes"`
	List     []string          `json:"list"`
	Inner    inner             `json:"inner"`
	Pointer  *inner            `json:"pointer"`
	Inners   []inner           `json:"inners"`
	Map      map[string]inner  `json:"map"`
	Any      any               `json:"any"`
	Raw      json.RawMessage   `json:"raw"`
	Time     time.Time         `json:"time"`
	Number   json.Number       `json:"number"`
	Bytes    []byte            `json:"bytes"`
	Strings  map[string]string `json:"strings,omitempty"`
	Untagged string
	Skipped  string `json:"-"`
	hidden   string //nolint:unused // must stay out of reach of a member of its name
}

func TestUnmarshalAgreesWithEncodingJSON(t *testing.T) {
	texts := []string{
		`{}`,
		` { "text" : "a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00" , "whole" : -7 } `,
		`{"fraction":1.5e-3,"yes":true,"list":["a","b"],"list2":[]}`,
		`{"inner":{"key":"v"},"pointer":{"key":"p"},"inners":[{"key":"1"},{"key":"2"}]}`,
		`{"map":{"a":{"key":"x"},"b":{}},"strings":{"k":"v"},"any":{"A":[1,null,"x"]}}`,
		`{"raw":{"a" : [1, 2]},"time":"2026-01-02T03:04:05Z","number":12.50,"bytes":"aGk="}`,
		`{"text":null,"pointer":null,"list":null,"map":null,"any":null,"inner":null,"whole":null}`,
		`{"Untagged":"x","Skipped":"y","hidden":"z","-":"w"}`,
		`{"list":[],"inners":[],"map":{}}`,
		`{"unknown":{"deep":[{"a":[0,-0,0.5,1E+2]}]},"text":"after"}`,
	}
	for _, text := range texts {
		var got, want document
		if err := strictjson.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("Unmarshal(%s): %v", text, err)
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Unmarshal(%s)\n got %+v\nwant %+v", text, got, want)
		}
	}
}

func TestUnmarshalTopLevel(t *testing.T) {
	var list []int
	if err := strictjson.Unmarshal([]byte(`[1,2,3]`), &list); err != nil || len(list) != 3 {
		t.Errorf("list = %v, %v", list, err)
	}
	// What an interface holds must not be decoded into: it could be a struct,
	// which encoding/json would fill by loose names.
	held := &inner{}
	var target any = held
	if err := strictjson.Unmarshal([]byte(`{"KEY":"loose"}`), &target); err != nil {
		t.Fatal(err)
	}
	if held.Key != "" || !reflect.DeepEqual(target, map[string]any{"KEY": "loose"}) {
		t.Errorf("held = %+v, target = %v", held, target)
	}
}

// A12: encoding/json would set the field in every one of these.
func TestNamesMatchExactly(t *testing.T) {
	for _, text := range []string{
		`{"TEXT":"x"}`, `{"Text":"x"}`, `{"text":"kept","tExt":"x"}`, `{"tExt":"x","text":"kept"}`,
		`{"inner":{"KEY":"x"}}`, `{"inners":[{"Key":"x"}]}`, `{"map":{"a":{"kEy":"x"}}}`,
		`{"pointer":{"\u212aey":"x"}}`, // KELVIN SIGN folds to k
	} {
		var got document
		if err := strictjson.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("Unmarshal(%s): %v", text, err)
		}
		if out, _ := json.Marshal(got); strings.Contains(string(out), `"x"`) {
			t.Errorf("Unmarshal(%s) set a field: %s", text, out)
		}
	}
	// An exact name written with escapes is still that name.
	var got document
	if err := strictjson.Unmarshal([]byte(`{"\u0074ext":"x"}`), &got); err != nil || got.Text != "x" {
		t.Errorf("escaped name: %q, %v", got.Text, err)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	many := func(last string) string {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, `"m%d":0,`, i)
		}
		return "{" + b.String() + last + ":0}"
	}
	nested := func(depth int) string {
		return strings.Repeat("[", depth) + strings.Repeat("]", depth)
	}
	tests := []struct {
		name, text string
		want       error
	}{
		{"duplicate", `{"text":"a","text":"a"}`, strictjson.ErrDuplicate},
		{"duplicate unknown", `{"x":1,"x":2}`, strictjson.ErrDuplicate},
		{"duplicate by escape", `{"text":"a","\u0074ext":"b"}`, strictjson.ErrDuplicate},
		{"duplicate in unknown member", `{"x":[{"y":{"z":1,"z":1}}]}`, strictjson.ErrDuplicate},
		{"duplicate in struct", `{"inner":{"key":"","key":""}}`, strictjson.ErrDuplicate},
		{"duplicate in any", `{"any":{"key":"","key":""}}`, strictjson.ErrDuplicate},
		{"duplicate in raw", `{"raw":{"key":"","key":""}}`, strictjson.ErrDuplicate},
		{"duplicate in map", `{"map":{"a":{},"a":{}}}`, strictjson.ErrDuplicate},
		{"duplicate of the empty name", `{"":1,"":1}`, strictjson.ErrDuplicate},
		{"duplicate among many, early", many(`"m3"`), strictjson.ErrDuplicate},
		{"duplicate among many, late", many(`"m99"`), strictjson.ErrDuplicate},
		{"depth of arrays", `{"x":` + nested(strictjson.MaxDepth) + `}`, strictjson.ErrDepth},
		{"depth of objects", strings.Repeat(`{"x":`, 40) + "1" + strings.Repeat("}", 40), strictjson.ErrDepth},
		{"very deep, never closed", `{"x":` + strings.Repeat("[", 1<<20), strictjson.ErrDepth},
		{"empty", ``, strictjson.ErrSyntax},
		{"white space only", ` `, strictjson.ErrSyntax},
		{"trailing value", `{} {}`, strictjson.ErrSyntax},
		{"trailing brace", `{}}`, strictjson.ErrSyntax},
		{"trailing NUL", "{}\x00", strictjson.ErrSyntax},
		{"byte order mark", "\ufeff{}", strictjson.ErrSyntax},
		{"trailing comma in object", `{"x":1,}`, strictjson.ErrSyntax},
		{"trailing comma in array", `{"x":[1,]}`, strictjson.ErrSyntax},
		{"leading comma", `{,"x":1}`, strictjson.ErrSyntax},
		{"no colon", `{"x" 1}`, strictjson.ErrSyntax},
		{"no value", `{"x":}`, strictjson.ErrSyntax},
		{"bare name", `{x:1}`, strictjson.ErrSyntax},
		{"single quotes", `{'x':1}`, strictjson.ErrSyntax},
		{"comment", `{/**/}`, strictjson.ErrSyntax},
		{"other white space", "{\u00a0}", strictjson.ErrSyntax},
		{"wrong bracket", `{"x":[1}`, strictjson.ErrSyntax},
		{"unclosed object", `{"x":1`, strictjson.ErrSyntax},
		{"unclosed string", `{"x":"`, strictjson.ErrSyntax},
		{"unclosed escape", `{"x":"\`, strictjson.ErrSyntax},
		{"control character", "{\"x\":\"\n\"}", strictjson.ErrSyntax},
		{"NUL in a name", "{\"\x00\":1}", strictjson.ErrSyntax},
		{"unknown escape", `{"x":"\x41"}`, strictjson.ErrSyntax},
		{"short unicode escape", `{"x":"\u12"}`, strictjson.ErrSyntax},
		{"signed unicode escape", `{"x":"\u+123"}`, strictjson.ErrSyntax},
		{"underscored unicode escape", `{"x":"\u1_23"}`, strictjson.ErrSyntax},
		{"lone high surrogate", `{"x":"\ud800"}`, strictjson.ErrSyntax},
		{"lone low surrogate", `{"x":"\udc00"}`, strictjson.ErrSyntax},
		{"surrogates reversed", `{"x":"\udc00\ud800"}`, strictjson.ErrSyntax},
		{"high surrogate, other escape", `{"x":"\ud800\n"}`, strictjson.ErrSyntax},
		{"invalid UTF-8 in a value", "{\"x\":\"\xff\"}", strictjson.ErrSyntax},
		{"invalid UTF-8 in a name", "{\"\xc0\xaf\":1}", strictjson.ErrSyntax},
		{"leading zero", `{"x":01}`, strictjson.ErrSyntax},
		{"plus", `{"x":+1}`, strictjson.ErrSyntax},
		{"bare minus", `{"x":-}`, strictjson.ErrSyntax},
		{"no digit after point", `{"x":1.}`, strictjson.ErrSyntax},
		{"no digit before point", `{"x":.5}`, strictjson.ErrSyntax},
		{"no exponent", `{"x":1e}`, strictjson.ErrSyntax},
		{"hexadecimal", `{"x":0x10}`, strictjson.ErrSyntax},
		{"NaN", `{"x":NaN}`, strictjson.ErrSyntax},
		{"Infinity", `{"x":Infinity}`, strictjson.ErrSyntax},
		{"True", `{"x":True}`, strictjson.ErrSyntax},
		{"nul", `{"x":nul}`, strictjson.ErrSyntax},
		{"string for number", `{"whole":"1"}`, strictjson.ErrType},
		{"number for string", `{"text":1}`, strictjson.ErrType},
		{"fraction for int", `{"whole":1.5}`, strictjson.ErrType},
		{"number out of range", `{"fraction":1e400}`, strictjson.ErrType},
		{"object for string", `{"text":{}}`, strictjson.ErrType},
		{"array for object", `{"inner":[]}`, strictjson.ErrType},
		{"object for array", `{"list":{}}`, strictjson.ErrType},
		{"string for object", `{"inner":"x"}`, strictjson.ErrType},
		{"string for pointer", `{"pointer":"x"}`, strictjson.ErrType},
		{"bad time", `{"time":"SECRET"}`, strictjson.ErrType},
		{"text for json.Number", `{"number":"SECRET"}`, strictjson.ErrType},
		{"number for bool", `{"yes":1}`, strictjson.ErrType},
		{"array at the top", `[]`, strictjson.ErrType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got document
			err := strictjson.Unmarshal([]byte(tt.text), &got)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Unmarshal = %v, want %v", err, tt.want)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("error quotes the document: %v", err)
			}
		})
	}
}

func TestDepthLimitIsExact(t *testing.T) {
	var v any
	text := strings.Repeat("[", strictjson.MaxDepth) + strings.Repeat("]", strictjson.MaxDepth)
	if err := strictjson.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("depth %d: %v", strictjson.MaxDepth, err)
	}
	// Depth is how many are open, not how many there are.
	text = "[" + strings.Repeat("[],", 1000) + "[]]"
	if err := strictjson.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("wide: %v", err)
	}
}

func TestDuplicateNamesTheMember(t *testing.T) {
	for name, want := range map[string]string{
		"exp":                   `duplicate JSON member "exp"`,
		strings.Repeat("n", 33): "duplicate JSON member",
		`\n2026 INFO forged`:    "duplicate JSON member",
		"\u202e":                "duplicate JSON member",
	} {
		var v any
		err := strictjson.Unmarshal(fmt.Appendf(nil, `{"%s":1,"%[1]s":1}`, name), &v)
		if err == nil || err.Error() != want {
			t.Errorf("name %q: error %q, want %q", name, err, want)
		}
	}
}

func TestTargetsThatCannotBe(t *testing.T) {
	type Embedded struct{ inner }
	type Option struct {
		N int `json:"n,omitempty,string"`
	}
	type Array struct {
		A [2]inner `json:"a"`
	}
	for _, v := range []any{nil, document{}, (*document)(nil), new(Embedded), new(Option), new(Array)} {
		if err := strictjson.Unmarshal([]byte(`{"a":[]}`), v); !errors.Is(err, strictjson.ErrTarget) {
			t.Errorf("Unmarshal into %T = %v, want ErrTarget", v, err)
		}
	}
}

// FuzzUnmarshal compares with encoding/json: what passes here means the same
// there, and what fails there fails here.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a","whole":1,"inner":{"key":"k"},"list":["x"],"any":[{}]}`,
		`{"a":1,"a":2}`, `{"\u0061":1,"a":2}`, `[1e400,-0,0.5]`, `"\ud83d\ude00"`, `"\ud800"`,
		`{"time":"2026-01-02T03:04:05Z","map":{"a":{"key":"b"}},"raw": [ 1 ]}`, "\"\xff\"", `nulll`, ` 1 `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict, lenient any
		err := strictjson.Unmarshal(data, &strict)
		lenientErr := json.Unmarshal(data, &lenient)
		switch {
		case err == nil && lenientErr != nil:
			t.Fatalf("accepted %q, which encoding/json refuses: %v", data, lenientErr)
		case err == nil && !reflect.DeepEqual(strict, lenient):
			t.Fatalf("%q means %v here and %v there", data, strict, lenient)
		}
		var doc, again document
		if err := strictjson.Unmarshal(data, &doc); err != nil {
			return
		}
		// Marshaling gives exact names, so the two decoders must agree now.
		exact, err := json.Marshal(doc)
		if err != nil {
			t.Skip("a time outside the years 0 to 9999, or the like")
		}
		if err := strictjson.Unmarshal(exact, &again); err != nil {
			t.Fatalf("%s, printed from %q, is refused: %v", exact, data, err)
		}
		if printed, _ := json.Marshal(again); string(printed) != string(exact) {
			t.Fatalf("%q printed as %s, then as %s", data, exact, printed)
		}
	})
}

func BenchmarkUnmarshal(b *testing.B) {
	type claims struct {
		Issuer      string   `json:"iss"`
		Subject     string   `json:"sub"`
		SessionID   string   `json:"sid"`
		ID          string   `json:"jti"`
		ClientID    string   `json:"client_id"`
		Epoch       string   `json:"epoch"`
		Username    string   `json:"username"`
		Email       string   `json:"email"`
		Expires     int64    `json:"exp"`
		Issued      int64    `json:"iat"`
		AuthMethods []string `json:"amr"`
		Roles       []string `json:"roles"`
	}
	text := []byte(`{"iss":"https://auth.example.com","sub":"01JAZ","sid":"Kx3vPq","jti":"b64b64b64b64",` +
		`"client_id":"web","epoch":"AAAAAAAAAAA","username":"ada","email":"ada@example.com","exp":1800000900,` +
		`"iat":1800000000,"amr":["pwd"],"roles":["admin","user"]}`)
	for name, unmarshal := range map[string]func([]byte, any) error{
		"strict": strictjson.Unmarshal, "encoding-json": json.Unmarshal,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var c claims
				if err := unmarshal(text, &c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
