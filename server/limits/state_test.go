package limits

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

func mustNew(t testing.TB, o *Options) *Limits {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Who comes with more addresses than the table has places, of IPv4 and of IPv6, makes the node keep no more, and is bound by the node's rate.
func TestManyAddresses(t *testing.T) {
	l := mustNew(t, Public())
	before := heap()
	let := 0
	for i := range 200_000 {
		var a16 [16]byte
		binary.BigEndian.PutUint64(a16[:], 0x2001_0db8_0000_0000|uint64(i))
		addr := netip.AddrFrom16(a16)
		if i%2 == 0 {
			addr = netip.AddrFrom4([4]byte{byte(1 + i>>16), byte(i >> 8), byte(i), 1})
		}
		if l.allow(addr.String()) == nil {
			let++
		}
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("%d bytes more are kept", grown)
	}
	elapsed := time.Duration(l.now())
	if most := 2*l.opts.HandshakesPerNode.Burst + int(elapsed.Seconds()*l.opts.HandshakesPerNode.PerSecond) + 1; let > most {
		t.Errorf("%d handshakes in %v", let, elapsed)
	}
	if n := l.open.len(); n != 0 {
		t.Errorf("%d prefixes have connections", n)
	}
}

// The table tells keys apart, so that nobody pays for others, and a key that owes much is kept before those that owe little.
func TestDebts(t *testing.T) {
	d := newDebts(1024)
	r := newRate(kindAddressHandshakes, Rate{PerSecond: 1, Burst: 3}, Drop)
	abuser := d.ofUser("abuser")
	for range 3 {
		if wait := d.take(abuser, &r, 0); wait != 0 {
			t.Fatal(wait)
		}
	}
	for i := range 400 {
		if wait := d.take(d.ofUser(fmt.Sprint(i)), &r, 0); wait != 0 {
			t.Errorf("%d has to wait %v", i, wait)
		}
	}
	if wait := d.take(abuser, &r, 0); wait != time.Second {
		t.Errorf("the abuser waits %v", wait)
	}
	if wait := d.take(abuser, &r, int64(time.Second)); wait != 0 {
		t.Errorf("a second later the abuser waits %v", wait)
	}
}

// A bucket never refuses what a plain token bucket would allow, and lets through two bursts and the rate at most.
func TestBucketBounds(t *testing.T) {
	r := newRate(kindEvents, Rate{PerSecond: 100, Burst: 20}, Drop)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var b bucket
		b.init(&r, 0)
		plain, at, now, passed := float64(r.burst), int64(0), int64(0), int64(0)
		for range 2000 {
			now += random.Int64N(int64(20 * time.Millisecond))
			if random.IntN(50) == 0 {
				now += int64(time.Second)
			}
			n := 1 + random.Int64N(3)
			plain = min(float64(r.burst), plain+float64(now-at)/r.every)
			at = now
			took := b.tokens.Add(-n) >= 0 || b.refill(now, &r, r.every, r.burst, n) == 0
			if took {
				passed += n
			}
			if plain >= float64(n)+1e-6 {
				if !took {
					t.Fatalf("refused %d with %v tokens", n, plain)
				}
				plain -= float64(n)
			} else if took {
				plain = 0
			}
		}
		if most := 2*r.burst + int64(float64(now)/r.every) + 3; passed > most {
			t.Fatalf("%d passed, at most %d should", passed, most)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{ConnectionsPerAddress: -1}, {NetworkBits4: 33}, {NetworkBits6: 8}, {TableSize: -1}, {Unjoined: -1}, {Namespaces: -1},
		{Events: Rate{PerSecond: -1}}, {Events: Rate{PerSecond: 1, Burst: -1}}, {Events: Rate{PerSecond: 1e-9, Burst: 10}},
		{Events: Rate{PerSecond: 1, Action: 9}}, {Packets: Rate{PerSecond: 1, Action: Drop}}, {Bytes: Rate{PerSecond: 1, Action: Drop}},
		{EventOverrides: map[string]Rate{"x": {PerSecond: -1}}}, {Namespaces: 1, NamespacesAction: SlowDown}, {ConnectionsPerUser: -1}, {EventBytes: -1}, {EventBytes: 1, EventBytesAction: SlowDown}, {NamespacesAction: 9}, {ConnectionsPerUser: 1, UserConnectionsAction: SlowDown},
	} {
		if _, err := New(&o); err == nil {
			t.Errorf("accepted %+v", o)
		}
	}
	for _, o := range []*Options{nil, {}, Internal(), Public()} {
		mustNew(t, o)
	}
}

// Without limits nothing is put into the options, so that it costs nothing.
func TestInternalInstallsNothing(t *testing.T) {
	var opts server.Options
	mustNew(t, Internal()).Install(&opts)
	if opts.Hooks != nil || opts.Engine.AllowRequest != nil || opts.Engine.Observe != nil {
		t.Errorf("installed %+v", opts)
	}
}
