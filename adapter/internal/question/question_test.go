package question

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// run makes a tally of a script: one word for each step. It returns what has been refused.
//
//	new:a,b/c       asked a and b, c was silent before; new! for a question with sockets
//	n=2+m/a,b       2 nodes are counted, m of them mute, a and b are members
//	l=a,b,x+m/a,b   those nodes are listed
//	a, a:3          a reports, with 3 sockets; _ is a node without a name
//	-a:2            2 sockets of a have settled
//	overdue         the broker does not say to how many it has handed the question, and nobody has answered before
//	overdue:2/a,x   it has handed it to 2 others, a and x have answered before; -1 if it does not say
//	~a              a is silent; ^a may have missed the question; †a does not exist any more
//	late
func run(t *testing.T, script string) (y *Tally[string], refused string) {
	t.Helper()
	var log []string
	number := func(text string) (n int) {
		if text != "" {
			if _, err := fmt.Sscan(text, &n); err != nil {
				t.Fatalf("%s in %s: %v", text, script, err)
			}
		}
		return n
	}
	for _, step := range strings.Fields(script) {
		head, rest, _ := strings.Cut(step, ":")
		first, members, _ := strings.Cut(step[min(len(step), 2):], "/")
		first, mute, _ := strings.Cut(first, "+")
		switch {
		case head == "new" || head == "new!":
			asked, silent, _ := strings.Cut(rest, "/")
			y = New(head == "new!", names(asked), names(silent))
		case strings.HasPrefix(step, "n="):
			y.Counted(number(first), number(mute), names(members))
		case strings.HasPrefix(step, "l="):
			y.Listed(names(first), number(mute), names(members))
		case step == "overdue":
			y.Overdue(-1, nil)
		case head == "overdue":
			handed, before, _ := strings.Cut(rest, "/")
			y.Overdue(number(handed), names(before))
		case step == "late":
			y.Late()
		case strings.HasPrefix(step, "~"):
			y.Silent(step[1:])
		case strings.HasPrefix(step, "^"):
			y.Missed(step[1:])
		case strings.HasPrefix(step, "†"):
			y.Gone(strings.TrimPrefix(step, "†"))
		default:
			from := strings.ReplaceAll(strings.TrimPrefix(head, "-"), "_", "")
			take := y.Report
			if strings.HasPrefix(head, "-") {
				take = y.Settle
			}
			if !take(from, number(rest)) {
				log = append(log, step)
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
		lost       map[string]int
		refused    string
	}{
		// Members.
		{"new: n=0+0/", true, "", 0, nil, ""},
		{"new:", false, "", 0, nil, ""},
		{"new:a,b n=2+0/a,b a", false, "b", 1, nil, ""},
		{"new:a,b n=2+0/a,b a b", true, "", 0, nil, ""},
		{"new:a,b a b", false, "", 0, nil, ""},
		{"new:a,b n=2+0/a,b a:3 b:99999999", true, "", 0, nil, ""}, // numbers of sockets of which nothing more will come
		{"new:a,b n=2+0/a,b a a", false, "b", 1, nil, "a"},
		{"new:a,b n=2+0/a,b a ~b", true, "b", 1, nil, ""},
		{"new:a,b n=2+0/a,b a ~b b", true, "", 0, nil, ""},
		{"new:a/b n=2+0/a,b a", true, "b", 1, nil, ""},
		{"new:a/b n=2+0/a,b a b", true, "", 0, nil, ""},
		{"new:a/b n=1+0/a a †b", false, "", 0, nil, ""}, // to be counted again
		{"new:a,b n=2+0/a,b a †b", false, "", 0, nil, ""},
		{"new:a,b n=2+0/a,b a †b n=1+0/a", true, "", 0, nil, ""},
		{"new:a,b n=2+0/a,b a b †b", true, "", 0, nil, ""},
		{"new:a n=1+0/a †x ~x a", true, "", 0, nil, ""},
		{"new:a,b n=2+0/a,b a ^b", true, "b", 1, nil, ""},
		{"new:a,b n=2+0/a,b a ^b b", true, "", 0, nil, ""},
		{"new:a,b n=2+0/a,b a b ^b ^x", true, "", 0, nil, ""},
		{"new!:a n=1+0/a a:1 ^a", false, "a", 1, lost{"a": 1}, ""},
		{"new!:a n=1+0/a a:1 ^a -a:1", true, "", 0, nil, ""},
		// A member that has left hides a foreign node until somebody counts again.
		{"new:a,b n=2+0/a,b a †b n=2+0/a", false, "", 1, nil, ""},
		{"new:a,b n=2+0/a,b a †b n=2+0/a _", true, "", 0, nil, ""},
		// Newcomers.
		{"new:a n=1+0/a a n=2+0/a,d", true, "", 0, nil, ""},
		{"new:a n=2+0/a a", false, "", 1, nil, ""},
		{"new:a n=2+0/a a l=a,d+0/a,d", false, "d", 1, nil, ""},
		{"new:a n=2+0/a a l=a,d+0/a,d overdue", true, "d", 1, nil, ""},
		{"new:a n=2+0/a a l=a,d+0/a,d d", true, "", 0, nil, ""},
		{"new:a n=2+0/a a l=a,d+0/a,d overdue d", true, "", 0, nil, ""},
		{"new:a n=2+0/a,d a", false, "d", 1, nil, ""},
		{"new:a n=2+0/a d a l=a,d+0/a,d", true, "", 0, nil, ""},
		{"new:a n=2+0/a d a l=a,c,d+0/a,c,d", true, "", 0, nil, ""},
		{"new:a,c n=2+0/a,c a †c l=a,d+0/a,d", true, "", 0, nil, ""}, // one in the place of another
		{"new: l=d,x+0/d x", false, "d", 1, nil, ""},
		{"new: n=1+0/ overdue l=d+0/d", true, "", 0, nil, ""}, // it has come in the place of a foreign node
		{"new: overdue n=1+0/d", false, "d", 1, nil, ""},      // counted late
		{"new: overdue n=1+0/d overdue", true, "d", 1, nil, ""},
		// Foreign nodes.
		{"new:a n=3+0/a a _", false, "", 1, nil, ""},
		{"new:a n=3+0/a a _ _", true, "", 0, nil, ""},
		{"new:a n=3+0/a a x x", false, "", 1, nil, "x"},
		{"new:a n=3+0/a a x _", true, "", 0, nil, ""},
		{"new:a n=3+1/a a _", true, "", 1, nil, ""},
		{"new:a n=3+9/a a", true, "", 2, nil, ""},
		{"new:a n=3+0/a a l=a,x+0/a _", true, "", 0, nil, ""},
		{"new:a n=3+0/a a x l=a+0/a", true, "", 0, nil, ""},
		{"new:a n=3+0/a a x l=a,y+0/a", false, "", 1, nil, ""}, // who has reported and vanished does not stand in for another
		{"new:a n=1+0/a,b a", true, "", 0, nil, ""},            // more members than the broker counts
		// One in the place of a foreign node that has answered before.
		{"new: n=1+0/ l=y+0/", false, "", 1, nil, ""},
		{"new: n=1+0/ overdue:-1/x l=y+0/", true, "", 1, nil, ""},
		{"new: n=1+0/ overdue:-1/x l=y+0/ y", true, "", 0, nil, ""},
		{"new: n=1+0/ overdue:-1/x l=x+0/", false, "", 1, nil, ""},
		{"new: n=1+0/ overdue l=y+0/", false, "", 1, nil, ""},
		{"new: n=2+0/ y overdue:-1/x,y l=y,z+0/", true, "", 1, nil, ""},
		{"new: n=2+0/ overdue:-1/x,y l=y,z+0/", false, "", 2, nil, ""},
		{"new:a n=2+0/a a overdue:-1/x l=a,y+0/a", true, "", 1, nil, ""},
		// One that has come after the broker had handed the question on.
		{"new:a n=2+0/a a l=a,y+0/a", false, "", 1, nil, ""},
		{"new:a n=2+0/a a overdue:1", true, "", 0, nil, ""},
		{"new:a n=2+0/a overdue:1 l=a,y+0/a", false, "a", 2, nil, ""},
		{"new:a n=2+0/a overdue:1 a", true, "", 0, nil, ""},
		{"new:a n=2+0/a a overdue:2", false, "", 1, nil, ""},
		// Sockets.
		{"new!:a n=1+0/a a:2", false, "a", 1, lost{"a": 2}, ""},
		{"new!:a n=1+0/a a:2 -a:1", false, "a", 1, lost{"a": 1}, ""},
		{"new!:a n=1+0/a a:2 -a:1 -a:1", true, "", 0, nil, ""},
		{"new!:a n=1+0/a a:2 -a:3", false, "a", 1, lost{"a": 2}, "-a:3"},
		{"new!:a n=1+0/a a:0", true, "", 0, nil, ""},
		{"new!:a n=1+0/a a:2 †a", true, "a", 1, lost{"a": 2}, ""},
		{"new!:a n=1+0/a a:2 †a -a:1", true, "a", 1, lost{"a": 2}, "-a:1"},
		{"new!:a n=1+0/a †a n=0+0/ a:2", true, "", 0, nil, "a:2"},
		{"new!:a n=1+0/a a:2 ~a", true, "a", 1, lost{"a": 2}, ""},
		{"new!:a n=1+0/a a:1 -a:1 late", false, "", 0, nil, ""},
		{"new!:a n=2+0/a a:0 _:2 -_:1", false, "", 1, lost{"": 1}, ""},
		{"new!:a n=2+0/a a:0 _:2 -_:1 l=a,x+0/a", false, "", 1, lost{"": 1}, ""},
		{"new!:a n=2+0/a a:0 _:2 -_:1 l=a+0/a", true, "", 1, lost{"": 1}, ""},
		{"new!:a n=2+0/a a:0 x:2 l=a+0/a", true, "x", 1, lost{"x": 2}, ""},
		// Whatever the order.
		{"new!:a n=2+0/a a:0 -_:1 _:2 -_:1", true, "", 0, nil, ""},
		{"new!:a n=2+0/a a:0 -_:2 _:2", true, "", 0, nil, ""},
		{"new!:a n=2+0/a a:0 -_:1", false, "", 1, nil, ""},
		{"new!:a n=2+0/a a:0 -x:1 l=a,x+0/a", false, "", 1, nil, ""},
		{"new!:a n=1+0/a -a:1 a:1", true, "", 0, nil, ""},
		{"new!:a n=1+0/a -a:1", false, "a", 1, nil, ""},
		{"new!:a n=3+0/a a:0 -_:1 _:0 _:1", true, "", 0, nil, ""},
		{"new!:a n=2+0/a a:0 -_:70000", false, "", 1, nil, "-_:70000"},
		// What cannot be.
		{"new!:a n=1+0/a a:-1", false, "a", 1, nil, "a:-1"},
		{"new!:a n=1+0/a a:99999999", false, "a", 1, nil, "a:99999999"},
		{"new!:a n=1+0/a a:1 -a:-1", false, "a", 1, lost{"a": 1}, "-a:-1"},
	} {
		y, refused := run(t, tt.script)
		if y.Done() != tt.done || refused != tt.refused {
			t.Errorf("%s: done %v, refused %q; want %v, %q", tt.script, y.Done(), refused, tt.done, tt.refused)
		}
		o := y.End()
		if strings.Join(o.Missing, ",") != tt.missing || o.Unanswered != tt.unanswered || !maps.Equal(o.Lost, tt.lost) {
			t.Errorf("%s: missing %q, %d unanswered, lost %v; want %q, %d, %v", tt.script, o.Missing, o.Unanswered, o.Lost, tt.missing, tt.unanswered, tt.lost)
		}
	}
}

type lost = map[string]int

// TestOutstanding has what a question has to find out about.
func TestOutstanding(t *testing.T) {
	for _, tt := range []struct {
		script  string
		members []string
		foreign bool
	}{
		{"new:a,b", []string{"a", "b"}, true},
		{"new:a,b n=2+0/a,b a", []string{"b"}, false},
		{"new:a,b n=3+0/a,b a b", nil, true},
		{"new:a,b n=3+1/a,b a b", nil, false},
		{"new!:a n=2+0/a a:1 x:1", []string{"a"}, true},
		{"new!:a n=2+0/a a:1 x:1 -x:1", []string{"a"}, false},
		{"new:a,b n=2+0/a,b ~a †b", nil, true},
	} {
		y, _ := run(t, tt.script)
		members, foreign := y.Outstanding()
		if slices.Sort(members); !slices.Equal(members, tt.members) || foreign != tt.foreign {
			t.Errorf("%s: %q, foreign %v", tt.script, members, foreign)
		}
	}
}

// TestRecount tells when a member that has left makes the count wrong.
func TestRecount(t *testing.T) {
	y, _ := run(t, "new:a,b n=2+0/a,b a")
	if y.Gone("x") || y.Gone("a") || !y.Gone("b") || y.Gone("b") {
		t.Error("only the one that had not reported matters, once")
	}
}

// TestMute tells who let the time run out.
func TestMute(t *testing.T) {
	for script, mute := range map[string]int{"new:a,b n=4+1/a,b a _": 1, "new:a,b n=4+1/a,b a": 2, "new:a,b n=4+1/a,b a _ _": 0} {
		y, _ := run(t, script)
		if o := y.End(); !slices.Equal(o.Silent, []string{"b"}) || !o.Counted || o.Mute != mute {
			t.Errorf("%s: %+v", script, o)
		}
	}
}

// TestNamed names the foreign nodes that have answered and still exist.
func TestNamed(t *testing.T) {
	y, _ := run(t, "new:a n=5+0/a a y x z d _ l=a,d,x,y,w+0/a,d")
	if o := y.End(); !slices.Equal(o.Named, []string{"x", "y"}) {
		t.Errorf("%q have answered", o.Named)
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
	y = New[string](false, nil, nil)
	y.Counted(2*maxReports, 0, nil)
	for i := range 2 * maxReports {
		if !y.Report(fmt.Sprint("x", i), 0) {
			t.Fatalf("answer %d of a cluster that large is refused", i)
		}
	}
}

// BenchmarkAcks asks 100 members with 100 sockets each, which all acknowledge.
func BenchmarkAcks(b *testing.B) {
	var members []string
	for i := range 100 {
		members = append(members, fmt.Sprintf("%016x", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		y := New(true, members, nil)
		y.Counted(len(members), 0, members)
		for _, m := range members {
			y.Report(m, 100)
		}
		for range 100 {
			for _, m := range members {
				if y.Done() || !y.Settle(m, 1) {
					b.Fatal("an acknowledgement does not count")
				}
			}
		}
		if !y.Done() {
			b.Fatal("not done")
		}
	}
}
