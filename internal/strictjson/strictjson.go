// Package strictjson decodes JSON that strangers wrote: the header and claims
// of a token, a key set, the body of a request.
//
// encoding/json is lenient in ways that let two readers of one document
// disagree about what it says, and such a disagreement is how a check is
// bypassed. [Unmarshal] decodes into the same Go types with the same struct
// tags, and differs in what it refuses:
//
//   - a member name that occurs twice in one object, at any depth, compared
//     after escapes are resolved ("iss" and "\u0069ss" are one name);
//   - text that is not UTF-8, and escapes that name half a surrogate pair, which
//     encoding/json replaces in silence (both as RFC 7493, I-JSON, wants);
//   - nesting deeper than [MaxDepth];
//   - anything but white space after the value.
//
// And in what it ignores: a member sets a struct field only if the names are
// equal byte for byte. encoding/json also takes "ISS" for iss.
//
// Unknown members are allowed, and checked like all others. The size of the
// document is for the caller to bound.
//
// Targets may be built of structs, slices, maps with string keys, pointers,
// strings, numbers, booleans, any, and types with an UnmarshalJSON method.
// Such a method is given text that has passed the checks above, but reads it
// by its own rules. Arrays, embedded fields and the ",string" option are refused,
// because nothing here needs them.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// MaxDepth is how many arrays and objects may be open at once. Nothing that
// Innkeeper reads is nested deeper than four.
const MaxDepth = 32

// Errors of [Unmarshal]. None of them carries content of the document, except
// the name of a duplicate member where that is short and printable.
var (
	// ErrSyntax reports text that is not one JSON value in UTF-8.
	ErrSyntax = errors.New("malformed JSON")
	// ErrDuplicate reports an object with two members of one name.
	ErrDuplicate = errors.New("duplicate JSON member")
	// ErrDepth reports nesting deeper than [MaxDepth].
	ErrDepth = errors.New("JSON is nested too deeply")
	// ErrType reports a value that does not fit the Go type it is meant for.
	ErrType = errors.New("JSON value has the wrong type")
	// ErrTarget reports a Go type that cannot be decoded into: a mistake of the
	// programmer, not of whoever wrote the document.
	ErrTarget = errors.New("unsupported target for strict JSON")
)

// Unmarshal decodes the single JSON value in data into v, a non-nil pointer. It
// returns an error that is one of those above; *v is then only partly set and
// must not be used.
func Unmarshal(data []byte, v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("%w: %T", ErrTarget, v)
	}
	if !utf8.Valid(data) {
		return fmt.Errorf("%w: not UTF-8", ErrSyntax)
	}
	d := decoder{scanner: scanner{data: data}}
	if err := d.value(target.Elem()); err != nil {
		return err
	}
	if d.space(); d.pos != len(data) {
		return fmt.Errorf("%w: data after the value", ErrSyntax)
	}
	return nil
}

// decoder walks the text once, checking all of it and setting what it can.
type decoder struct {
	scanner
	depth int
}

// nowhere is the target of a value that is only checked.
func nowhere() reflect.Value { return reflect.Value{} }

// value reads one value into target.
func (d *decoder) value(target reflect.Value) error {
	d.space()
	if target.IsValid() && target.Kind() == reflect.Pointer && d.peek() != 'n' {
		target.Set(reflect.New(target.Type().Elem()))
		return d.value(target.Elem())
	}
	if whole := opaque(target); whole != nil {
		start := d.pos
		if err := d.value(nowhere()); err != nil {
			return err
		}
		if whole.UnmarshalJSON(d.data[start:d.pos]) != nil {
			return ErrType // the cause may quote the document
		}
		return nil
	}
	switch d.peek() {
	case '{':
		return d.object(target)
	case '[':
		return d.array(target)
	default:
		return d.scalar(target)
	}
}

// opaque returns what decodes a target that is set as a whole, or nil. Neither kind
// can match names loosely: a type with a method has its own rules, and an interface
// is filled with maps.
func opaque(target reflect.Value) json.Unmarshaler {
	if target.Kind() == reflect.Interface {
		return anything{target}
	}
	if !target.IsValid() || target.Type().PkgPath() == "" {
		return nil // only types with a name have methods
	}
	u, _ := target.Addr().Interface().(json.Unmarshaler)
	return u
}

// anything decodes into an interface.
type anything struct{ target reflect.Value }

func (a anything) UnmarshalJSON(text []byte) error {
	a.target.SetZero() // else encoding/json decodes into what it holds
	return json.Unmarshal(text, a.target.Addr().Interface())
}

// isText reports whether a target is a string, and of no type that could have a method.
func isText(target reflect.Value) bool {
	return target.Kind() == reflect.String && target.Type().PkgPath() == ""
}

// scalar reads a string, number, true, false or null.
func (d *decoder) scalar(target reflect.Value) error {
	start := d.pos
	if d.peek() == '"' {
		text, err := d.text()
		if err != nil || !target.IsValid() {
			return err
		}
		if isText(target) {
			target.SetString(string(text))
			return nil
		}
	} else if err := d.literal(); err != nil || !target.IsValid() {
		return err
	}
	if json.Unmarshal(d.data[start:d.pos], target.Addr().Interface()) != nil {
		return ErrType // the cause may quote the document
	}
	return nil
}

// array reads an array into a slice.
func (d *decoder) array(target reflect.Value) error {
	if !target.IsValid() {
		return d.nested(']', func() error { return d.value(nowhere()) })
	}
	if target.Kind() != reflect.Slice {
		return mismatch(target)
	}
	target.SetZero()
	err := d.nested(']', func() error {
		last := target.Len()
		target.Grow(1)
		target.SetLen(last + 1)
		return d.value(target.Index(last))
	})
	if target.Len() == 0 {
		target.Set(reflect.MakeSlice(target.Type(), 0, 0)) // an empty array is not null
	}
	return err
}

// object reads an object into a struct or a map.
func (d *decoder) object(target reflect.Value) error {
	members, err := membersOf(target)
	if err != nil {
		return err
	}
	var seen nameSet
	return d.nested('}', func() error {
		if d.peek() != '"' {
			return fmt.Errorf("%w: member name expected", ErrSyntax)
		}
		name, err := d.text()
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return duplicate(name)
		}
		if err := d.colon(); err != nil {
			return err
		}
		return members.decode(d, name)
	})
}

// nested reads what stands between two brackets, calling each for every item.
func (d *decoder) nested(closing byte, each func() error) error {
	if d.depth == MaxDepth {
		return ErrDepth
	}
	d.depth++
	defer func() { d.depth-- }()

	d.pos++ // the opening bracket, which the caller has seen
	if d.space(); d.peek() == closing {
		d.pos++
		return nil
	}
	for {
		d.space()
		if err := each(); err != nil {
			return err
		}
		d.space()
		switch d.peek() {
		case ',':
			d.pos++
		case closing:
			d.pos++
			return nil
		default:
			return fmt.Errorf("%w: comma or bracket expected", ErrSyntax)
		}
	}
}

func mismatch(target reflect.Value) error {
	if target.Kind() == reflect.Array {
		return fmt.Errorf("%w: %s", ErrTarget, target.Type())
	}
	return ErrType
}

// duplicate names the member only where that is useful and harmless in a log.
func duplicate(name []byte) error {
	if len(name) > 32 {
		return ErrDuplicate
	}
	for _, c := range name {
		if c < ' ' || c > '~' {
			return ErrDuplicate
		}
	}
	return fmt.Errorf("%w %q", ErrDuplicate, name)
}
