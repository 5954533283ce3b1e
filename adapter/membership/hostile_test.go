package membership

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func hello(i int) *message {
	return &message{V: 1, Kind: kindHello, From: idOf(i), Every: 3000, Topics: 1, identity: identity{Name: fmt.Sprint("n", i), Tag: TagOf(fmt.Sprint("n", i))}}
}

// change returns a hello as JSON with other fields.
func change(fields string) string {
	body, err := hello(7).encode()
	if err != nil {
		panic(err)
	}
	all := make(map[string]json.RawMessage)
	if err := json.Unmarshal(body, &all); err != nil {
		panic(err)
	}
	other := make(map[string]json.RawMessage)
	if err := json.Unmarshal([]byte(fields), &other); err != nil {
		panic(err)
	}
	maps.Copy(all, other)
	body, err = json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(body)
}

func hostile() map[string]string {
	long := strings.Repeat("x", maxName+1)
	return map[string]string{
		"empty":               ``,
		"no JSON":             `hello`,
		"cut":                 change(`{}`)[:50],
		"another type":        `[1]`,
		"null":                `null`,
		"no version":          change(`{"v":0}`),
		"negative version":    change(`{"v":-1}`),
		"long id":             change(`{"from":"0123456789abcdef0123456789abcdef0"}`),
		"id with a space":     change(`{"from":"0123456789 abcdef"}`),
		"no id":               change(`{"from":""}`),
		"long name":           change(`{"name":"` + long + `"}`),
		"no name":             change(`{"name":""}`),
		"long address":        change(`{"address":"` + long + `"}`),
		"long version":        change(`{"version":"` + long + `"}`),
		"long adapter":        change(`{"adapter":"` + long + `"}`),
		"long tag":            change(`{"tag":"abcde"}`),
		"no tag":              change(`{"tag":""}`),
		"tag of other form":   change(`{"tag":"ab.c"}`),
		"no time":             change(`{"started":"yesterday"}`),
		"long setting":        change(`{"settings":{"` + long + `":""}}`),
		"long value":          change(`{"settings":{"a":"` + long + `"}}`),
		"many settings":       change(`{"settings":{` + strings.TrimSuffix(fields(maxSettings+1), ",") + `}}`),
		"negative life":       change(`{"life":-1}`),
		"life out of bounds":  change(`{"life":1000000001}`),
		"no interval":         change(`{"every":0}`),
		"interval of a day":   change(`{"every":86400000}`),
		"negative interval":   change(`{"every":-5}`),
		"interval overflows":  change(`{"every":9223372036854775807}`),
		"negative topics":     change(`{"topics":-1}`),
		"long topic":          change(`{"serves":["` + long + `"]}`),
		"part out of bounds":  change(`{"part":3,"parts":3}`),
		"negative part":       change(`{"part":-1,"parts":3}`),
		"part of none":        change(`{"part":1}`),
		"many parts":          change(`{"parts":100000}`),
		"too many topics":     change(`{"serves":["` + strings.Repeat(`","`, maxTopics) + `"]}`),
		"too long":            change(`{"future":"` + strings.Repeat("x", maxBody) + `"}`),
		"deep":                `{"v":1,"x":` + strings.Repeat("[", 100_000),
		"long served topic":   `{"v":1,"kind":"topics","from":"0007abcdabcdabcd","every":3000,"topics":2,"was":1,"served":["` + long + `"]}`,
		"long unserved topic": `{"v":1,"kind":"topics","from":"0007abcdabcdabcd","every":3000,"topics":2,"was":1,"unserved":["` + long + `"]}`,
	}
}

func fields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"f%d":"",`, i)
	}
	return b.String()
}

func TestHostileBodies(t *testing.T) {
	bodies := hostile()
	bubble(t, func(t *testing.T, b *broker) {
		n := b.cluster(t, 2)[0]
		n.take()
		for name, body := range bodies {
			for _, from := range []Channel{All, Inbox, Common} {
				before := n.Stats()
				n.link.put(func() { n.link.receive(from, []byte(body)) })
				synctest.Wait()
				before.Malformed++
				if after := n.Stats(); after != before {
					t.Errorf("%s on %v: stats are %+v, want %+v", name, from, after, before)
				}
			}
		}
		n.expect(t)
		if lines := n.logged("level="); lines != nil {
			t.Errorf("logged %q", lines)
		}
		// What is unknown is ignored, and the rest is taken.
		for _, body := range []string{change(`{"future":{"a":[1]},"started":"0001-01-01T00:00:00+02:00"}`),
			`{"v":1,"kind":"future","from":"0007abcdabcdabcd","every":3000,"topics":1,"name":""}`} {
			n.link.put(func() { n.link.receive(All, []byte(body)) })
		}
		n.expect(t, "n7 alive hello")
		if got := n.Stats().Malformed; got != uint64(3*len(bodies)) {
			t.Errorf("%d bodies were malformed, want %d", got, 3*len(bodies))
		}
	})
}

// What belongs on an inbox means nothing on the channel of all.
func TestQuestionsToAllAreNotAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 2)
		for _, kind := range []string{kindAsk, kindPing, kindOver} {
			b.forget()
			feed(nodes[0], All, &message{V: 1, Kind: kind, From: idOf(1), Every: 3000, Topics: 1, Of: 1})
			if got := b.received(idOf(1)); len(got) != 0 {
				t.Errorf("a %s to all was answered: %v", kind, got)
			}
			feed(nodes[0], Inbox, &message{V: 1, Kind: kind, From: idOf(1), Every: 3000, Topics: 1, Of: 1})
			if got := b.received(idOf(1)); len(got) == 0 {
				t.Errorf("a %s to the inbox was not answered", kind)
			}
		}
	})
}

func TestTooManyMembers(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.start(t, 0, Options{})
		synctest.Wait()
		for i := 1; i <= maxMembers+10; i++ {
			msg := hello(i)
			body, _ := msg.encode()
			n.link.put(func() { n.link.receive(All, body) })
		}
		feed(n, All, &message{V: 1, Kind: kindBeat, From: idOf(maxMembers + 20), Every: 3000, Topics: 1})
		if got := n.Stats(); got.Members != maxMembers || got.Full != 11 {
			t.Errorf("stats are %+v", got)
		}
		checkInvariants(t, n.Members)
		pass(10 * time.Minute)
		if got := n.Stats(); got.Members != 0 {
			t.Errorf("stats are %+v", got)
		}
		checkInvariants(t, n.Members)
	})
}

// A flood of beats of unknown nodes, and of a life that is over, makes few questions.
func TestFloodsAreNotAmplified(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 1)
		for i := 1; i <= 3; i++ { // they listen and say nothing
			l := b.link(idOf(i), "")
			if err := l.Start(func(Channel, []byte) {}, func() {}, func() {}); err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		synctest.Wait()
		feed(nodes[0], All, hello(1))
		feed(nodes[0], All, &message{V: 1, Kind: kindBye, From: idOf(1), Every: 3000, Topics: 1})
		feed(nodes[0], All, hello(2))
		b.forget()
		for i := range 100 {
			for from := 1; from <= 3; from++ {
				feed(nodes[0], All, &message{V: 1, Kind: kindBeat, From: idOf(from), Every: 3000, Topics: uint64(5 + i)})
			}
		}
		if got := b.received(idOf(1)); got["inbox over"] != 1 {
			t.Errorf("the life that is over received %v", got)
		}
		for i := 2; i <= 3; i++ {
			if got := b.received(idOf(i)); got["inbox ask"] != 1 {
				t.Errorf("node %d, known or not, received %v", i, got)
			}
		}
		pass(time.Second)
		for from := 1; from <= 3; from++ {
			feed(nodes[0], All, &message{V: 1, Kind: kindBeat, From: idOf(from), Every: 3000, Topics: 200})
			if got := b.received(idOf(from)); got["inbox ask"]+got["inbox over"] != 2 {
				t.Errorf("a second later node %d received %v", from, got)
			}
		}
		// Ids that never come again are not remembered for ever.
		for i := range maxMembers + 100 {
			beat, _ := (&message{V: 1, Kind: kindBeat, From: idOf(100 + i), Every: 3000, Topics: 1}).encode()
			nodes[0].link.put(func() { nodes[0].link.receive(All, beat) })
			stranger := hello(10_000 + i)
			stranger.Settings = map[string]string{"n": fmt.Sprint(i)}
			body, _ := stranger.encode()
			nodes[0].link.put(func() { nodes[0].link.receive(Common, body) })
		}
		synctest.Wait()
		checkInvariants(t, nodes[0].Members)
		if lines := nodes[0].logged("level=WARN"); len(lines) != maxConflicts {
			t.Errorf("%d lines were logged", len(lines))
		}
	})
}

// More topics than a node may tell are not believed, in one body or in several.
func TestTooManyTopicsOfAMember(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.start(t, 0, Options{})
		synctest.Wait()
		topics := func(from, to int) (list []string) {
			for i := from; i < to; i++ {
				list = append(list, fmt.Sprint("/", i))
			}
			return list
		}
		first := hello(1)
		first.Serves = topics(0, 4000)
		feed(n, All, first)
		feed(n, All, &message{V: 1, Kind: kindTopics, From: idOf(1), Every: 3000, Was: 1, Topics: 2, Served: topics(4000, 4097)})
		feed(n, All, &message{V: 1, Kind: kindTopics, From: idOf(1), Every: 3000, Was: 3, Topics: 3, Served: topics(4000, 4001)})
		for part := range 2 {
			second := hello(2)
			second.Topics, second.Part, second.Parts, second.Serves = 5, part, 2, topics(3000*part, 3000*part+3000)
			feed(n, All, second)
		}
		if got := n.Stats().Malformed; got != 2 {
			t.Errorf("%d were refused", got)
		}
		for topic, want := range map[string]int{"/0": 1, "/3999": 1, "/4000": 0, "/5000": 0} {
			if alive, _ := n.Serving(topic); len(alive) != want {
				t.Errorf("%v serve %s", alive, topic)
			}
		}
		checkInvariants(t, n.Members)
	})
}

func TestOptions(t *testing.T) {
	good := Node{ID: idOf(1), Name: "a"}
	with := func(f func(*Options)) Options {
		o := Options{Self: good}
		f(&o)
		return o
	}
	var many, large []Setting
	for i := range maxSettings + 1 {
		many = append(many, Setting{Flag: fmt.Sprint(i)})
	}
	for i := range maxSettings {
		large = append(large, Setting{fmt.Sprint(i), strings.Repeat("\x01", maxName)})
	}
	for want, o := range map[string]Options{
		"1 to 32 letters":     with(func(o *Options) { o.Self.ID = "1#" }),
		"name is empty":       with(func(o *Options) { o.Self.Name = "" }),
		"237 bytes":           with(func(o *Options) { o.Self.Name = strings.Repeat("x", 237) }),
		"is not UTF-8":        with(func(o *Options) { o.Self.Name = "\xff" }),
		"over 256 bytes":      with(func(o *Options) { o.Self.Address = strings.Repeat("x", 257) }),
		"tag":                 with(func(o *Options) { o.Self.Tag = "abc" }),
		"life":                with(func(o *Options) { o.Self.Life = "other" }),
		"not one of node":     with(func(o *Options) { o.Self.Life = string(idOf(1)) + "-02" }),
		"between 1ms":         with(func(o *Options) { o.Interval = time.Microsecond }),
		"and 10m0s":           with(func(o *Options) { o.Interval = time.Hour }),
		"negative":            with(func(o *Options) { o.OverAfter = -1 }),
		"given twice":         with(func(o *Options) { o.Settings = []Setting{{"a", "1"}, {"a", "1"}} }),
		"is empty or":         with(func(o *Options) { o.Settings = []Setting{{"", "1"}} }),
		"over 32 settings":    with(func(o *Options) { o.Settings = many }),
		"setting \"a\"":       with(func(o *Options) { o.Settings = []Setting{{"a", strings.Repeat("x", 257)}} }),
		"too long to be told": with(func(o *Options) { o.Settings = large }),
		"year":                with(func(o *Options) { o.Self.Started = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }),
	} {
		if _, err := New(o, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	o := Options{Self: good}
	if _, err := o.complete(); err != nil {
		t.Fatal(err)
	}
	if o.Self.Life != string(good.ID) || o.Self.Tag != TagOf("a") || time.Since(o.Self.Started) > time.Minute || o.Interval != 3*time.Second || o.OverAfter != 5*time.Minute || o.Logger == nil {
		t.Errorf("the defaults are %+v", o)
	}
}

func TestForms(t *testing.T) {
	if a, b := NewID(), NewID(); !a.valid() || !b.valid() || a == b {
		t.Errorf("ids are %q and %q", a, b)
	}
	// Computed with: printf a | openssl sha256 -binary | head -c 3 | base64
	for name, want := range map[string]string{"a": "ypeB", "host:3000": "PwT_"} {
		if got := TagOf(name); got != want || !validTag(got) {
			t.Errorf("the tag of %q is %q, want %q", name, got, want)
		}
	}
	for tag, want := range map[string]bool{"abcd": true, "-_09": true, "abc": false, "abcde": false, "ab+d": false, "abc=": false, "": false, "ab\nd": false, "ab\ncd": false} {
		if got := validTag(tag); got != want {
			t.Errorf("tag %q: %v", tag, got)
		}
	}
	id := idOf(1)
	for life, want := range map[string]int{string(id): 1, id.life(2): 2, id.life(10): 10, string(id) + "-1": 0, string(id) + "-02": 0, string(id) + "-+2": 0, "2": 0, "-2": 0, "": 0, string(id) + "-": 0, string(idOf(2)): 0} {
		if got := id.number(life); got != want {
			t.Errorf("life %q is number %d, want %d", life, got, want)
		}
	}
	for state, want := range map[State]string{Alive: "alive", Silent: "silent", Absent: "absent", Over: "over", 9: "unknown"} {
		if state.String() != want {
			t.Errorf("%d is %q", state, state)
		}
	}
}

// FuzzReceive gives a node two bodies after it has met a member, and lets time pass.
func FuzzReceive(f *testing.F) {
	for _, body := range hostile() {
		if len(body) < 2000 {
			f.Add(byte(0), []byte(body), byte(1), []byte(change(`{}`)))
		}
	}
	for _, kind := range []string{kindBeat, kindTopics, kindAsk, kindPing, kindOver, kindBye, "future"} {
		for life := range 3 {
			body, err := (&message{V: 1, Kind: kind, From: idOf(1), Life: life, Every: 1000, Topics: 2, Was: 1, Served: []string{"/", "/a"}, Unserved: []string{"/"}, Of: 1}).encode()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(life), body, byte(1), body)
		}
	}
	for _, fields := range []string{`{"name":"n1"}`, `{"name":"n0"}`, `{"from":"0001abcdabcdabcd","part":1,"parts":2,"topics":3,"serves":["/b"]}`, `{"settings":{"a":"b"}}`, `{"v":2}`, `{"from":"0001abcdabcdabcd","life":3}`} {
		f.Add(byte(0), []byte(change(fields)), byte(2), []byte(change(fields)))
	}
	f.Fuzz(func(t *testing.T, from1 byte, body1 []byte, from2 byte, body2 []byte) {
		bubble(t, func(t *testing.T, b *broker) {
			n := b.start(t, 0, Options{Interval: time.Minute})
			synctest.Wait()
			feed(n, All, hello(1))
			for _, letter := range []letter{{Channel(from1 % 3), "", body1}, {Channel(from2 % 3), "", body2}} {
				n.link.put(func() { n.link.receive(letter.channel, letter.body) })
				synctest.Wait()
				checkInvariants(t, n.Members)
			}
			pass(time.Minute)
			checkInvariants(t, n.Members)
			pass(40 * time.Minute) // the longest interval that is believed, three times and a bit
			checkInvariants(t, n.Members)
			if nodes := n.Nodes(); len(nodes) != 1 {
				t.Errorf("after silence there are still %+v", nodes)
			}
		})
	})
}
