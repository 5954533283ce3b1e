package outage

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "make every trouble, for 10 s each, and print the table of docs/brokers.md")

// flavours are all adapters with their brokers.
var flavours = []*Flavour{pubsub, sharded, streams, kafka, nats}

// TestOutage kills the broker of each adapter for a moment, or with -long makes every trouble.
func TestOutage(t *testing.T) {
	troubles, lasting := []Trouble{Killed}, time.Second
	if *long {
		troubles, lasting = []Trouble{Killed, Restarted, Frozen, CutSender, CutTarget}, 10*time.Second
	}
	var table strings.Builder
	for _, f := range flavours {
		for _, what := range troubles {
			t.Run(fmt.Sprintf("%s/%s", f.Name, what), func(t *testing.T) {
				o := Run(t, f, what, lasting)
				t.Log(&o)
				check(t, &o, f.Promise(what), lasting)
				fmt.Fprintf(&table, "| %s | %s | %s / %s | %s | %d | %d | %d | %d | %d |\n", f.Name, label(what, lasting),
					shown(o.NoticedSender), shown(o.NoticedPeer), shown(o.Crossing), o.Sent, o.Refused, o.Lost, o.Doubled, o.Reordered)
			})
		}
	}
	if *long {
		t.Logf("the table:\n%s", table.String())
	}
}

func label(what Trouble, lasting time.Duration) string {
	if what == Restarted {
		return string(what)
	}
	return fmt.Sprintf("%s %v", what, lasting)
}

// check holds an outcome to a promise.
func check(t *testing.T, o *Outcome, p Promise, lasting time.Duration) {
	t.Helper()
	if p.Lossless && o.Lost > 0 {
		t.Errorf("%d messages were lost", o.Lost)
	}
	if o.Doubled > 0 || o.Reordered > 0 {
		t.Errorf("%d messages came twice, %d out of order", o.Doubled, o.Reordered)
	}
	if o.Crossing > p.Crossing {
		t.Errorf("messages crossed again only %v after the end; the nodes were up after %v and %v", o.Crossing, o.UpSender, o.UpPeer)
	}
	noticed := max(o.NoticedSender, o.NoticedPeer)
	if p.Noticed > 0 && lasting > p.Noticed && (noticed < 0 || noticed > p.Noticed) {
		t.Errorf("noticed after %v", noticed)
	}
}
