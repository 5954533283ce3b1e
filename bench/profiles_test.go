package main

import "testing"

func TestShorten(t *testing.T) {
	const text = `File: sockeye
Build ID: 14b4557f
Type: cpu
Time: 2026-01-02 03:04:05 UTC
Duration: 7s, Total samples = 2s (28.57%)
Active filters:
   show=sockeye-io/sockeye/(server|adapter|internal)
Showing nodes accounting for 1.7s, 85% of 2s total
Dropped 3 nodes (cum <= 0.01s)
Showing top 10 nodes out of 68
      flat  flat%   sum%        cum   cum%
     1.18s 59.00% 59.00%      1.18s 59.00%  rooms.(*Selector[go.shape.struct { *server.Socket; a [4]int }]).Select
`
	const want = `Duration: 7s, Total samples = 2s (28.57%)
      flat  flat%   sum%        cum   cum%
     1.18s 59.00% 59.00%      1.18s 59.00%  rooms.(*Selector[...]).Select
`
	if got := string(shorten([]byte(text))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
