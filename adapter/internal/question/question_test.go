package question

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// run makes a tally of a script: one word for each step, and what is wanted of the answer behind a "?".
//
//	new:a,b/c       asked a and b, c was silent before; new! for a question with sockets
//	n=2+m/a,b       2 nodes are counted, m of them mute, a and b are members
//	l=a,b,x+m/a,b   those nodes are listed
//	a, a:3          a reports, with 3 sockets; _ is a node without a name
//	-a:2            2 sockets of a have settled
//	handed:2        the broker has handed the question to 2 others
//	before:a,x      a and x have answered before
//	~a              a is silent; ^a may have missed the question; †a does not exist any more
//	late, overdue
func run(t *testing.T, script string) (*Tally, string) {
	t.Helper()
	var y *Tally
	var log []string
	for _, step := range strings.Fields(script) {
		head, rest, _ := strings.Cut(step, ":")
		switch {
		case head == "new" || head == "new!":
			asked, silent, _ := strings.Cut(rest, "/")
			y = New(head == "new!", names(asked), names(silent))
		case strings.HasPrefix(step, "n="):
			var nodes, mute int
			count, members, _ := strings.Cut(step[2:], "/")
			if _, err := fmt.Sscanf(count, "%d+%d", &nodes, &mute); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			y.Counted(nodes, mute, names(members))
		case strings.HasPrefix(step, "l="):
			var mute int
			list, members, _ := strings.Cut(step[2:], "/")
			list, count, _ := strings.Cut(list, "+")
			if _, err := fmt.Sscan(count, &mute); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			for _, loss := range y.Listed(names(list), mute, names(members)) {
				log = append(log, fmt.Sprintf("lost %s:%d", loss.Node, loss.Sockets))
			}
		case head == "handed":
			n := 0
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			y.Handed(n)
		case head == "before":
			y.Before(names(rest))
		case step == "late":
			y.Late()
		case step == "overdue":
			y.Overdue()
		case strings.HasPrefix(step, "~"):
			y.Silent(step[1:])
		case strings.HasPrefix(step, "^"):
			y.Missed(step[1:])
		case strings.HasPrefix(step, "†"):
			if n := y.Gone(strings.TrimPrefix(step, "†")); n > 0 {
				log = append(log, fmt.Sprintf("lost %s:%d", strings.TrimPrefix(step, "†"), n))
			}
		default:
			n := 0
			if rest != "" {
				if _, err := fmt.Sscan(rest, &n); err != nil {
					t.Fatalf("%s: %v", step, err)
				}
			}
			settle := strings.HasPrefix(head, "-")
			from := strings.ReplaceAll(strings.TrimPrefix(head, "-"), "_", "")
			if ok := settle && y.Settle(from, n) || !settle && y.Report(from, n); !ok {
				log = append(log, "refused "+step)
			}
		}
	}
	return y, strings.Join(log, ", ")
}

func names(list string) []string {
	if list == "" {
		return nil
	}
	all := strings.Split(list, ",")
	slices.Sort(all)
	return all
}

func TestTally(t *testing.T) {
	for _, tt := range []struct {
		script     string
		done       bool
		missing    string // by name, then how many in all
		unanswered int
		log        string
	}{
		// Members.
		{"new: n=0+0/", true, "", 0, ""},
		{"new:", false, "", 0, ""},
		{"new:a,b n=2+0/a,b a", false, "b", 1, ""},
		{"new:a,b n=2+0/a,b a b", true, "", 0, ""},
		{"new:a,b a b", false, "", 0, ""},
		{"new:a,b n=2+0/a,b a a", false, "b", 1, "refused a"},
		{"new:a,b n=2+0/a,b a ~b", true, "b", 1, ""},
		{"new:a,b n=2+0/a,b a ~b b", true, "", 0, ""},
		{"new:a/b n=2+0/a,b a", true, "b", 1, ""},
		{"new:a/b n=2+0/a,b a b", true, "", 0, ""},
		{"new:a/b n=1+0/a a †b", false, "", 0, ""}, // to be counted again
		{"new:a,b n=2+0/a,b a †b", false, "", 0, ""},
		{"new:a,b n=2+0/a,b a †b n=1+0/a", true, "", 0, ""},
		{"new:a,b n=2+0/a,b a b †b", true, "", 0, ""},
		{"new:a n=1+0/a †x ~x a", true, "", 0, ""},
		{"new:a,b n=2+0/a,b a ^b", true, "b", 1, ""},
		{"new:a,b n=2+0/a,b a ^b b", true, "", 0, ""},
		{"new:a,b n=2+0/a,b a b ^b ^x", true, "", 0, ""},
		{"new!:a n=1+0/a a:1 ^a", false, "a", 1, ""},
		{"new!:a n=1+0/a a:1 ^a -a:1", true, "", 0, ""},
		// A member that has left hides a foreign node until somebody counts again.
		{"new:a,b n=2+0/a,b a †b n=2+0/a", false, "", 1, ""},
		{"new:a,b n=2+0/a,b a †b n=2+0/a _", true, "", 0, ""},
		// Newcomers.
		{"new:a n=1+0/a a n=2+0/a,d", true, "", 0, ""},
		{"new:a n=2+0/a a", false, "", 1, ""},
		{"new:a n=2+0/a a l=a,d+0/a,d", false, "d", 1, ""},
		{"new:a n=2+0/a a l=a,d+0/a,d overdue", true, "d", 1, ""},
		{"new:a n=2+0/a a l=a,d+0/a,d d", true, "", 0, ""},
		{"new:a n=2+0/a,d a", false, "d", 1, ""},
		{"new:a n=2+0/a d a l=a,d+0/a,d", true, "", 0, ""},
		{"new:a,c n=2+0/a,c a †c l=a,d+0/a,d", true, "", 0, ""}, // one in the place of another
		{"new: l=d,x+0/d x", false, "d", 1, ""},
		// Foreign nodes.
		{"new:a n=3+0/a a _", false, "", 1, ""},
		{"new:a n=3+0/a a _ _", true, "", 0, ""},
		{"new:a n=3+0/a a x x", false, "", 1, "refused x"},
		{"new:a n=3+0/a a x _", true, "", 0, ""},
		{"new:a n=3+1/a a _", true, "", 1, ""},
		{"new:a n=3+9/a a", true, "", 2, ""},
		{"new:a n=3+0/a a l=a,x+0/a _", true, "", 0, ""},
		{"new:a n=3+0/a a x l=a+0/a", true, "", 0, ""},
		{"new:a n=1+0/a,b a", true, "", 0, ""}, // more members than the broker counts
		// One in the place of a foreign node that has answered before.
		{"new: before:x n=1+0/ l=y+0/", false, "", 1, ""},
		{"new: before:x n=1+0/ l=y+0/ overdue", true, "", 1, ""},
		{"new: before:x n=1+0/ l=y+0/ overdue y", true, "", 0, ""},
		{"new: before:x n=1+0/ l=x+0/ overdue", false, "", 1, ""},
		{"new: n=1+0/ l=y+0/ overdue", false, "", 1, ""},
		{"new: before:x,y n=2+0/ y l=y,z+0/ overdue", true, "", 1, ""},
		{"new: before:x,y n=2+0/ l=y,z+0/ overdue", false, "", 2, ""},
		{"new:a before:x n=2+0/a a l=a,y+0/a overdue", true, "", 1, ""},
		// One that has come after the broker had handed the question on.
		{"new:a handed:1 n=2+0/a a l=a,y+0/a", false, "", 1, ""},
		{"new:a handed:1 n=2+0/a a l=a,y+0/a overdue", true, "", 1, ""},
		{"new:a handed:1 n=2+0/a l=a,y+0/a overdue", false, "a", 2, ""},
		{"new:a handed:2 n=2+0/a a l=a,y+0/a overdue", false, "", 1, ""},
		// Sockets.
		{"new!:a n=1+0/a a:2", false, "a", 1, ""},
		{"new!:a n=1+0/a a:2 -a:1", false, "a", 1, ""},
		{"new!:a n=1+0/a a:2 -a:1 -a:1", true, "", 0, ""},
		{"new!:a n=1+0/a a:2 -a:3", false, "a", 1, "refused -a:3"},
		{"new!:a n=1+0/a a:0", true, "", 0, ""},
		{"new!:a n=1+0/a a:2 †a", true, "a", 1, "lost a:2"},
		{"new!:a n=1+0/a a:2 †a -a:1", true, "a", 1, "lost a:2, refused -a:1"},
		{"new!:a n=1+0/a †a n=0+0/ a:2", true, "", 0, "refused a:2"},
		{"new!:a n=1+0/a a:2 ~a", true, "a", 1, ""},
		{"new!:a n=1+0/a a:1 -a:1 late", false, "", 0, ""},
		{"new!:a n=2+0/a a:0 _:2 -_:1", false, "", 1, ""},
		{"new!:a n=2+0/a a:0 _:2 -_:1 l=a,x+0/a", false, "", 1, ""},
		{"new!:a n=2+0/a a:0 _:2 -_:1 l=a+0/a", true, "", 1, "lost :1"},
		{"new!:a n=2+0/a a:0 x:2 l=a+0/a", true, "x", 1, "lost x:2"},
		// Whatever the order.
		{"new!:a n=2+0/a a:0 -_:1 _:2 -_:1", true, "", 0, ""},
		{"new!:a n=2+0/a a:0 -_:2 _:2", true, "", 0, ""},
		{"new!:a n=2+0/a a:0 -_:1", false, "", 1, ""},
		{"new!:a n=1+0/a -a:1 a:1", true, "", 0, ""},
		{"new!:a n=1+0/a -a:1", false, "a", 1, ""},
		{"new!:a n=3+0/a a:0 -_:1 _:0 _:1", true, "", 0, ""},
		{"new!:a n=2+0/a a:0 -_:70000", false, "", 1, "refused -_:70000"},
		// What cannot be.
		{"new!:a n=1+0/a a:-1", false, "a", 1, "refused a:-1"},
		{"new!:a n=1+0/a a:99999999", false, "a", 1, "refused a:99999999"},
		{"new!:a n=1+0/a a:1 -a:-1", false, "a", 1, "refused -a:-1"},
	} {
		y, log := run(t, tt.script)
		if y.Done() != tt.done || log != tt.log {
			t.Errorf("%s: done %v, %q; want %v, %q", tt.script, y.Done(), log, tt.done, tt.log)
		}
		if o := y.End(); strings.Join(o.Missing, ",") != tt.missing || o.Unanswered != tt.unanswered {
			t.Errorf("%s: missing %q, %d unanswered; want %q, %d", tt.script, o.Missing, o.Unanswered, tt.missing, tt.unanswered)
		}
	}
}

// TestOutstanding has what a question has to find out about.
func TestOutstanding(t *testing.T) {
	for _, tt := range []struct {
		script             string
		members            []string
		foreign, uncounted bool
	}{
		{"new:a,b", []string{"a", "b"}, true, true},
		{"new:a,b n=2+0/a,b a", []string{"b"}, false, false},
		{"new:a,b n=3+0/a,b a b", nil, true, false},
		{"new:a,b n=3+1/a,b a b", nil, false, false},
		{"new!:a n=2+0/a a:1 x:1", []string{"a"}, true, false},
		{"new!:a n=2+0/a a:1 x:1 -x:1", []string{"a"}, false, false},
		{"new:a,b n=2+0/a,b ~a †b", nil, true, true},
	} {
		y, _ := run(t, tt.script)
		if got := y.Outstanding(); !reflect.DeepEqual(got, tt.members) || y.ForeignOutstanding() != tt.foreign || y.Uncounted() != tt.uncounted {
			t.Errorf("%s: %q, foreign %v, uncounted %v", tt.script, got, y.ForeignOutstanding(), y.Uncounted())
		}
	}
}

// TestMute tells who let the time run out, and when fewer foreign nodes are mute than it was believed.
func TestMute(t *testing.T) {
	y, _ := run(t, "new:a,b n=4+1/a,b a _")
	if o := y.End(); !slices.Equal(o.Silent, []string{"b"}) || o.Foreign != 2 || o.Mute != 1 {
		t.Errorf("%+v", o)
	}
	if y.Surplus() {
		t.Error("one of two has answered, and one is mute")
	}
	if !y.Report("", 0) || !y.Surplus() {
		t.Error("the mute one has answered")
	}
}

// TestInvented answers in the names of nodes that do not exist.
func TestInvented(t *testing.T) {
	y := New(false, []string{"a"}, nil)
	y.Counted(2, 0, []string{"a"})
	kept := 0
	for i := range 3 * maxReports {
		if y.Report(fmt.Sprint("x", i), 0) {
			kept++
		}
	}
	if kept != maxReports || !y.Report("a", 0) || !y.Done() {
		t.Errorf("%d answers are kept, done %v", kept, y.Done())
	}
	if y.Settle("nobody", 0) || y.nodes["nobody"] != nil {
		t.Error("one that says nothing is kept")
	}
	y = New(false, nil, nil)
	y.Counted(2*maxReports, 0, nil)
	for i := range 2 * maxReports {
		if !y.Report(fmt.Sprint("x", i), 0) {
			t.Fatalf("answer %d of a cluster that large is refused", i)
		}
	}
}
