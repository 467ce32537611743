package strictjson

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
)

// scanner reads the tokens of RFC 8259. It stands before the first byte that it
// has not read.
type scanner struct {
	data []byte
	pos  int
}

// peek returns the next byte, or 0 at the end. No JSON token begins with 0.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// space skips white space.
func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// colon reads the colon between name and value.
func (s *scanner) colon() error {
	if s.space(); s.peek() != ':' {
		return fmt.Errorf("%w: colon expected", ErrSyntax)
	}
	s.pos++
	return nil
}

// text reads a string and returns what it stands for. The result may share
// memory with the document.
func (s *scanner) text() ([]byte, error) {
	start, escaped := s.pos, false
	s.pos++ // the opening quote, which the caller has seen
	for s.plain(); s.pos < len(s.data); s.plain() {
		switch s.data[s.pos] {
		case '"':
			s.pos++
			if escaped {
				return unescape(s.data[start:s.pos])
			}
			return s.data[start+1 : s.pos-1], nil
		case '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%w: control character in a string", ErrSyntax)
		}
	}
	return nil, fmt.Errorf("%w: string without an end", ErrSyntax)
}

// plain skips what stands for itself in a string.
func (s *scanner) plain() {
	i := s.pos
	for i < len(s.data) && s.data[i] >= ' ' && s.data[i] != '"' && s.data[i] != '\\' {
		i++
	}
	s.pos = i
}

// unescape resolves a string whose escapes were checked.
func unescape(quoted []byte) ([]byte, error) {
	var plain string
	if json.Unmarshal(quoted, &plain) != nil {
		return nil, ErrSyntax
	}
	return []byte(plain), nil
}

// escape reads one escape sequence, or the two that make a surrogate pair.
func (s *scanner) escape() error {
	s.pos++ // the backslash
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		first, err := s.unit()
		if err != nil || !utf16.IsSurrogate(first) {
			return err
		}
		if s.peek() == '\\' {
			s.pos++
			second, err := s.unit()
			if err != nil {
				return err
			}
			if utf16.DecodeRune(first, second) != '\uFFFD' {
				return nil
			}
		}
		return fmt.Errorf("%w: half a surrogate pair", ErrSyntax)
	default:
		return fmt.Errorf("%w: unknown escape", ErrSyntax)
	}
}

// unit reads the u and the four digits of an escaped UTF-16 code unit.
func (s *scanner) unit() (rune, error) {
	if s.peek() == 'u' && s.pos+5 <= len(s.data) {
		// ParseUint takes neither signs nor underscores in base 16.
		if n, err := strconv.ParseUint(string(s.data[s.pos+1:s.pos+5]), 16, 16); err == nil {
			s.pos += 5
			return rune(n), nil
		}
	}
	return 0, fmt.Errorf("%w: bad escape", ErrSyntax)
}

// literal reads a number, true, false or null.
func (s *scanner) literal() error {
	for _, word := range [...]string{"true", "false", "null"} {
		if end := s.pos + len(word); end <= len(s.data) && string(s.data[s.pos:end]) == word {
			s.pos = end
			return nil
		}
	}
	if s.peek() == '-' {
		s.pos++
	}
	// A leading zero stands alone: 007 is not a number.
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return fmt.Errorf("%w: value expected", ErrSyntax)
	}
	if s.peek() == '.' {
		if s.pos++; !s.digits() {
			return fmt.Errorf("%w: digit expected", ErrSyntax)
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return fmt.Errorf("%w: digit expected", ErrSyntax)
		}
	}
	return nil
}

// digits reads digits and reports whether there were any.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}
