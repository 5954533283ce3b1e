// Package acceptencoding reads the header Accept-Encoding as the npm package negotiator does.
package acceptencoding

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// element is one of the header.
type element struct {
	name string
	q    float64
}

// match is a coding that is offered, and the element that decides about it.
type match struct {
	name  string
	q     float64
	exact bool // not by "*"
	order int  // of the element
}

// Preferred returns those of the offered codings that a client accepts, best first: by quality, then an exact name before "*", then in the
// client's order, then in that of the offer. header are the values of Accept-Encoding.
func Preferred(header []string, offered ...string) []string {
	elements := parse(header)
	var found []match
	for _, name := range offered {
		if m := find(name, elements); m.q > 0 { // not a number never wins
			found = append(found, m)
		}
	}
	slices.SortStableFunc(found, match.compare)
	names := make([]string, len(found))
	for i, m := range found {
		names[i] = m.name
	}
	return names
}

func (m match) compare(n match) int {
	switch {
	case m.q != n.q:
		return cmp.Compare(n.q, m.q)
	case m.exact != n.exact:
		if m.exact {
			return -1
		}
		return 1
	}
	return cmp.Compare(m.order, n.order)
}

func parse(header []string) (elements []element) {
	for text := range strings.SplitSeq(strings.Join(header, ","), ",") {
		name, params, _ := strings.Cut(text, ";")
		if name = strings.TrimSpace(name); name == "" || strings.ContainsAny(name, " \t") {
			elements = append(elements, element{})
			continue
		}
		elements = append(elements, element{strings.ToLower(name), quality(params)})
	}
	return elements
}

// quality reads the q parameter as JavaScript's parseFloat does: the longest numeric prefix, and nothing at all is not
// a number, which never wins.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if name != "q" {
			continue
		}
		value = strings.TrimSpace(value)
		end := 0
		for end < len(value) && (value[end] >= '0' && value[end] <= '9' || value[end] == '.' || end == 0 && value[end] == '-') {
			end++
		}
		for ; end > 0; end-- {
			if q, err := strconv.ParseFloat(value[:end], 64); err == nil {
				return q
			}
		}
		return math.NaN()
	}
	return 1
}

// find returns what decides about a coding. Its quality is 0 if nothing does.
func find(name string, elements []element) match {
	found := match{name: name, order: -1}
	for i, e := range elements {
		exact := e.name == name
		if !exact && e.name != "*" {
			continue
		}
		if found.order < 0 || exact && !found.exact || exact == found.exact && e.q > found.q {
			found = match{name, e.q, exact, i}
		}
	}
	return found
}
