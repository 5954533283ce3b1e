package limits

import (
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// generous are all limits, none of which is reached.
func generous() *Options {
	o := Public()
	for _, r := range []*Rate{&o.Packets, &o.Bytes, &o.Events, &o.Joins, &o.Connects, &o.UserEvents} {
		*r = Rate{PerSecond: 1e9, Burst: 1 << 30}
	}
	return o
}

// benchUser is who every socket belongs to.
func benchUser(*server.Socket) string { return "ann" }

// BenchmarkPacket is what all limits cost an event that is within them: what the observer and the hook do.
func BenchmarkPacket(b *testing.B) {
	for _, c := range []struct {
		name   string
		change func(*Options)
	}{
		{"all", func(*Options) {}},
		{"without user", func(o *Options) { o.UserEvents = Rate{} }},
		{"with overrides", func(o *Options) {
			o.EventOverrides = map[string]Rate{"typing": {PerSecond: 1e9, Burst: 1 << 30}}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := generous()
			o.UserOf = benchUser
			c.change(o)
			opts := &server.Options{}
			l := mustNew(b, o)
			l.Install(opts)
			type event struct {
				socket *server.Socket
				server.Incoming
			}
			arrived, measured := make(chan event), make(chan struct{})
			before := opts.Hooks[0].BeforeEvent
			opts.Hooks[0].BeforeEvent = func(s *server.Socket, in server.Incoming) error {
				arrived <- event{s, in}
				<-measured // in is valid until then
				return before(s, in)
			}
			srv, err := server.New(opts)
			if err != nil {
				b.Fatal(err)
			}
			servertest.New(b, srv, nil).Connect(b, "/", nil).Emit("typing", "hello")
			e := <-arrived
			defer close(measured)
			observer := e.socket.Conn().Observer()
			b.ReportAllocs()
			for b.Loop() {
				if observer.Received(engine.TransportWebSocket, 40) != nil || before(e.socket, e.Incoming) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
