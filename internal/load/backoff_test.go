package load

import (
	"testing"
	"time"
)

// TestBackoff holds the bounds that the npm client's waits have.
func TestBackoff(t *testing.T) {
	for range 200 {
		var b backoff
		for i, middle := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second} {
			if wait := b.next(); wait < min(middle/2, reconnectionDelayMax) || wait > min(middle*3/2, reconnectionDelayMax) {
				t.Fatalf("wait %d is %v, the middle %v", i, wait, middle)
			}
		}
	}
	lost := time.Unix(1, 0)
	back := lost.Add(2 * time.Second)
	for range 200 {
		var b backoff
		if at := b.attempt(lost, back); at.Before(back) || at.After(back.Add(reconnectionDelayMax)) || b.attempts < 2 {
			t.Fatalf("attempt %v after the loss, the %d.", at.Sub(lost), b.attempts)
		}
	}
}
