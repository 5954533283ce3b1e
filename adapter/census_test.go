package adapter

import (
	"fmt"
	"testing"
)

// TestSpeakersAreForgotten: no list of the nodes is needed while all questions are answered, and so nothing but their number
// tells that old names are of no use any more.
func TestSpeakersAreForgotten(t *testing.T) {
	var c census
	for i := range 10 * maxAnswers {
		c.learn(map[NodeID]*part{"": {}, NodeID(fmt.Sprint(i)): {}, "here": {}})
	}
	if n := len(c.speakers); n > maxAnswers+2 {
		t.Errorf("%d names are known", n)
	}
	if got := c.speaking([]NodeID{"1", "here"}); len(got) != 1 || got[0] != "here" {
		t.Errorf("%q are known to tell their names", got)
	}
}
