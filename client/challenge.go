package client

import "strings"

// challenge is one of those that a WWW-Authenticate header holds.
type challenge struct {
	scheme string
	params map[string]string // names in lower case
}

// challenges reads the value of a WWW-Authenticate header (RFC 9110 section 11.6.1):
// challenges and their parameters share one comma, so that a word is a scheme if no
// equals sign follows it. What is not well formed ends the reading.
func challenges(value string) []challenge {
	var all []challenge
	for rest := value; ; {
		rest = strings.TrimLeft(rest, " \t,")
		word, after := token(rest)
		if word == "" {
			return all
		}
		after = strings.TrimLeft(after, " \t")
		if !strings.HasPrefix(after, "=") || len(all) == 0 {
			all = append(all, challenge{scheme: word, params: make(map[string]string)})
			rest = after
			continue
		}
		text, after, ok := parameterValue(strings.TrimLeft(after[1:], " \t"))
		if !ok {
			return all
		}
		all[len(all)-1].params[strings.ToLower(word)] = text
		rest = after
	}
}

// token cuts a token of RFC 9110 section 5.6.2 off a text.
func token(text string) (word, rest string) {
	end := strings.IndexFunc(text, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// parameterValue cuts a token or a quoted string off a text.
func parameterValue(text string) (value, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		value, rest = token(text)
		return value, rest, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], true
		case '\\':
			i++
			if i == len(text) {
				return "", "", false
			}
		}
		b.WriteByte(text[i])
	}
	return "", "", false
}
