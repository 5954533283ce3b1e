package lenient

import (
	"slices"
	"strconv"
)

// maxWhole is the highest whole number of which JavaScript has all, Number.MAX_SAFE_INTEGER.
const maxWhole = 1<<53 - 1

// Whole tells whether a name is that of a room which may be a number in Node.js: a whole number as JavaScript spells it.
func Whole(name string) (n int64, ok bool) {
	const longest = len("-9007199254740991")
	if name == "" || len(name) > longest || name[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(name, 10, 64)
	return n, err == nil && n >= -maxWhole && n <= maxWhole && strconv.FormatInt(n, 10) == name
}

// AnyWhole tells whether that is so of one of the names.
func AnyWhole(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := Whole(name); return ok })
}

// BothForms returns names as they are written for Node.js nodes, to which 43 and "43" are two rooms: each whole number as a text and as an
// int64. It is the names themselves if none of them is one.
func BothForms(names []string) any {
	if !AnyWhole(names) {
		return names
	}
	both := make([]any, 0, 2*len(names))
	for _, name := range names {
		both = append(both, name)
		if n, ok := Whole(name); ok {
			both = append(both, n)
		}
	}
	return both
}

// Distinct returns the strings each once, in the order in which they first came, and never nil: Node's sets.
func Distinct(list []string) []string {
	if len(list) <= fewRooms {
		return distinctFew(list)
	}
	seen := make(map[string]struct{}, len(list))
	out := make([]string, 0, len(list))
	for _, s := range list {
		if _, ok := seen[s]; !ok {
			seen[s] = struct{}{}
			out = append(out, s)
		}
	}
	return out
}

// fewRooms is the number of rooms up to which they are compared one by one.
const fewRooms = 16

func distinctFew(list []string) []string {
	for i, s := range list {
		if !slices.Contains(list[:i], s) {
			continue
		}
		out := slices.Clone(list[:i])
		for _, s := range list[i+1:] {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return out
	}
	if list == nil {
		return []string{}
	}
	return list
}
