package server

import (
	"slices"
	"strconv"
	"strings"
)

// acceptedEncodings lists the content codings of an Accept-Encoding header that a client bundle may have, best first:
// by quality, then in the header's order, as the reference's negotiation does.
func acceptedEncodings(header string) []string {
	type coding struct {
		name    string
		quality float64
	}
	var list []coding
	for item := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(item, ";")
		quality := 1.0
		for param := range strings.SplitSeq(params, ";") {
			if v, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
				q, err := strconv.ParseFloat(v, 64)
				if err != nil {
					q = 0
				}
				quality = q
			}
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if quality <= 0 || name == "" {
			continue
		}
		if name == "*" {
			list = append(list, coding{"br", quality}, coding{"gzip", quality})
			continue
		}
		list = append(list, coding{name, quality})
	}
	slices.SortStableFunc(list, func(a, b coding) int {
		switch {
		case a.quality > b.quality:
			return -1
		case a.quality < b.quality:
			return 1
		}
		return 0
	})
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.name
	}
	return names
}
