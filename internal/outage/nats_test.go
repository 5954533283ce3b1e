package outage

import (
	"log/slog"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/natsadapter"
	"github.com/sockeye-io/sockeye/internal/natstest"
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

// natsServer is a server of NATS as a Server.
type natsServer struct{ *natstest.Server }

func (s natsServer) Pause()  { s.Freeze() }
func (s natsServer) Resume() { s.Thaw() }
