package strictjson

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// members says where the members of one object go: to the fields of a struct,
// into a map, or nowhere.
type members struct {
	target reflect.Value
	fields []field
	next   int // the field to look at first
}

// field is a struct field under its exact JSON name.
type field struct {
	name  string
	index int
}

func membersOf(target reflect.Value) (members, error) {
	if !target.IsValid() {
		return members{}, nil
	}
	switch t := target.Type(); {
	case t.Kind() == reflect.Struct:
		fields, err := knownFields(t)
		return members{target: target, fields: fields}, err
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		target.Set(reflect.MakeMap(t))
		return members{target: target}, nil
	default:
		return members{}, mismatch(target)
	}
}

// knownTypes remembers the fields of each struct type, as encoding/json does: to work
// them out for every token is a tenth of what an RSA signature costs. The program's
// own types bound it, nothing that a stranger sends.
var knownTypes sync.Map // from reflect.Type to []field

func knownFields(t reflect.Type) ([]field, error) {
	known, _ := knownTypes.Load(t)
	if fields, ok := known.([]field); ok {
		return fields, nil
	}
	fields, err := fieldsOf(t)
	if err == nil {
		knownTypes.Store(t, fields)
	}
	return fields, err
}

// fieldsOf lists the fields of a struct.
func fieldsOf(t reflect.Type) ([]field, error) {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			return nil, fmt.Errorf("%w: embedded field %s.%s", ErrTarget, t, f.Name)
		}
		tag := f.Tag.Get("json")
		if !f.IsExported() || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		if options == "string" || strings.HasSuffix(options, ",string") {
			return nil, fmt.Errorf("%w: string option of %s.%s", ErrTarget, t, f.Name)
		}
		fields = append(fields, field{name, i})
	}
	return fields, nil
}

// decode reads the value of the named member.
func (m *members) decode(d *decoder, name []byte) error {
	if !m.target.IsValid() {
		return d.value(nowhere())
	}
	if m.target.Kind() == reflect.Map {
		item := reflect.New(m.target.Type().Elem()).Elem()
		if err := d.value(item); err != nil {
			return err
		}
		m.target.SetMapIndex(reflect.ValueOf(string(name)).Convert(m.target.Type().Key()), item)
		return nil
	}
	// Members mostly come in the order of the fields, so that the first look finds one.
	for range m.fields {
		if m.next == len(m.fields) {
			m.next = 0
		}
		f := &m.fields[m.next]
		m.next++
		if f.name != string(name) {
			continue
		}
		if err := d.value(m.target.Field(f.index)); err != nil {
			return fmt.Errorf("member %q: %w", f.name, err)
		}
		return nil
	}
	return d.value(nowhere())
}

// nameSet holds the member names of one object. Objects are small as a rule, so
// it compares one by one; an object made large to slow us down gets a map.
type nameSet struct {
	few   [16][]byte
	count int
	marks uint64 // a bit for length and ends of each: names that share none are not compared
	many  map[string]struct{}
}

// add reports whether the name is new.
func (s *nameSet) add(name []byte) bool {
	if s.many != nil {
		if _, ok := s.many[string(name)]; ok {
			return false
		}
		s.many[string(name)] = struct{}{}
		return true
	}
	mark := uint64(1)
	if n := len(name); n > 0 {
		mark <<= (n + 7*int(name[0]) + 2*int(name[n-1])) % 64
	}
	if s.marks&mark != 0 && slices.ContainsFunc(s.few[:s.count], func(old []byte) bool { return bytes.Equal(old, name) }) {
		return false
	}
	s.marks |= mark
	if s.count < len(s.few) {
		s.few[s.count] = name
		s.count++
		return true
	}
	s.many = make(map[string]struct{}, 4*len(s.few))
	for _, old := range s.few {
		s.many[string(old)] = struct{}{}
	}
	s.many[string(name)] = struct{}{}
	return true
}
