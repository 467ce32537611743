package strictjson

import (
	"fmt"
	"reflect"
	"strings"
)

// members says where the members of one object go: to the fields of a struct,
// into a map, or nowhere.
type members struct {
	target reflect.Value
	fields []field
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
		fields, err := fieldsOf(t)
		return members{target, fields}, err
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		target.Set(reflect.MakeMap(t))
		return members{target: target}, nil
	default:
		return members{}, mismatch(target)
	}
}

// fieldsOf lists the fields of a struct. It is worked out anew for each object:
// a memo would be a global, and it is a small part of the price of a signature.
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
func (m members) decode(d *decoder, name []byte) error {
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
	for _, f := range m.fields {
		if f.name == string(name) {
			if err := d.value(m.target.Field(f.index)); err != nil {
				return fmt.Errorf("member %q: %w", f.name, err)
			}
			return nil
		}
	}
	return d.value(nowhere())
}

// nameSet holds the member names of one object. Objects are small as a rule, so
// it compares one by one; an object made large to slow us down gets a map.
type nameSet struct {
	few   [16][]byte
	count int
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
	for _, old := range s.few[:s.count] {
		if string(old) == string(name) {
			return false
		}
	}
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
