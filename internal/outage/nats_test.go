package outage

import (
	"log/slog"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/natsadapter"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// NATS loses what is under way, and what waits for longer than QueueAge.
var nats = &Flavour{
	Name: "nats",
	Serve: func(t testing.TB) (Server, string) {
		s := natstest.Single(t)
		return natsServer{s}, s.Addr
	},
	Node: func(t testing.TB, _, via string, changed func(adapter.BrokerState)) adapter.Builder {
		return natsadapter.New(&natsadapter.Options{
			Servers: []string{"nats://" + via}, Logger: slog.New(slog.DiscardHandler),
			OnStateChange: func(state adapter.BrokerState, _ error) { changed(state) },
		})
	},
	Promise: func(Trouble) Promise { return Promise{Noticed: 9 * time.Second, Crossing: 15 * time.Second} },
}

// embedded is NATS inside each node, for what that costs: there is no broker that could be in trouble.
var embedded = &Flavour{
	Name:  "nats embedded",
	Serve: func(t testing.TB) (Server, string) { return nil, redistest.FreeAddr(t) },
	Node: func(t testing.TB, addr, _ string, changed func(adapter.BrokerState)) adapter.Builder {
		return natsadapter.New(&natsadapter.Options{
			Connect: []natsgo.Option{natsgo.InProcessServer(natstest.EmbeddedRoute(t, addr))}, Logger: slog.New(slog.DiscardHandler),
			OnStateChange: func(state adapter.BrokerState, _ error) { changed(state) },
		})
	},
}

// natsServer is a server of NATS as a Server.
type natsServer struct{ *natstest.Server }

func (s natsServer) Pause()  { s.Freeze() }
func (s natsServer) Resume() { s.Thaw() }
