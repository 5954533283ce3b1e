package envelope

import (
	"strings"

	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/server/parser"
)

// maxDepth is the deepest nesting of JSON in a message, as in package parser.
const maxDepth = 4096

// The functions below find their way through a JSON text without decoding it. They check only what they need for that;
// whatever is kept of the text has to be checked as a whole. Positions below zero mean that the text is broken.

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the position after the string whose opening quote is at i.
func skipString(s string, i int) int {
	for i++; ; i++ {
		n := strings.IndexByte(s[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		escapes := 0
		for s[i-1-escapes] == '\\' { // ends at the opening quote at the latest
			escapes++
		}
		if escapes%2 == 0 {
			return i + 1
		}
	}
}

// skipValue returns the position after the value at i.
func skipValue(s string, i int) int {
	for depth := 0; i < len(s); {
		switch s[i] {
		case '"':
			if i = skipString(s, i); i < 0 {
				return -1
			}
		case '{', '[':
			if depth++; depth > maxDepth {
				return -1
			}
			i++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return -1
			}
			i++
		case ',', ':', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return -1
			}
			i++
			continue
		default:
			for i < len(s) && !strings.ContainsRune(",:{}[]\" \n\r\t", rune(s[i])) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

// eachMember calls f with the key and the text of each member of an object, until f returns false. It reports whether the
// whole object has been gone through.
func eachMember(s string, f func(key, value string) bool) bool {
	i := skipSpace(s, 0)
	if i == len(s) || s[i] != '{' {
		return false
	}
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == '}' {
		return skipSpace(s, i+1) == len(s)
	}
	for i < len(s) && s[i] == '"' {
		end := skipString(s, i)
		if end < 0 {
			return false
		}
		key, ok := textOf(s[i:end])
		i = skipSpace(s, end)
		if !ok || i == len(s) || s[i] != ':' {
			return false
		}
		i = skipSpace(s, i+1)
		if end = skipValue(s, i); end < 0 || !f(key, s[i:end]) {
			return false
		}
		if i = skipSpace(s, end); i == len(s) {
			return false
		}
		if s[i] == '}' {
			return skipSpace(s, i+1) == len(s)
		}
		if s[i] != ',' {
			return false
		}
		i = skipSpace(s, i+1)
	}
	return false
}

// eachItem does the same for an array.
func eachItem(s string, f func(value string) bool) bool {
	i := skipSpace(s, 0)
	if i == len(s) || s[i] != '[' {
		return false
	}
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == ']' {
		return skipSpace(s, i+1) == len(s)
	}
	for i < len(s) {
		end := skipValue(s, i)
		if end < 0 || !f(s[i:end]) {
			return false
		}
		if i = skipSpace(s, end); i == len(s) {
			return false
		}
		if s[i] == ']' {
			return skipSpace(s, i+1) == len(s)
		}
		if s[i] != ',' {
			return false
		}
		i = skipSpace(s, i+1)
	}
	return false
}

// textOf decodes a string. A lone surrogate is kept as in package parser.
func textOf(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' {
		return "", false
	}
	if strings.IndexByte(s, '\\') < 0 {
		return valid(s[1 : len(s)-1]), true
	}
	var text string
	err := parser.Payload{JSON: []byte(valid(s))}.Unmarshal(&text)
	return text, err == nil
}

// valid puts U+FFFD in the place of invalid UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// rooms decodes the rooms that a message is for, or not for, names those that are told or joined. Both are lists of texts; what
// else they may be is told by package lenient.
func rooms(s string) (list []string, ok bool) { return texts(s, lenient.Rooms) }

func names(s string) (list []string, ok bool) {
	list, ok = texts(s, lenient.Names)
	return list, ok && s != ""
}

func texts(s string, odd func(text string) ([]string, error)) (list []string, ok bool) {
	list = []string{}
	ok = eachItem(s, func(item string) bool {
		name, ok := textOf(item)
		list = append(list, name)
		return ok
	})
	if ok {
		return list, true
	}
	list, err := odd(valid(s))
	return list, err == nil
}
