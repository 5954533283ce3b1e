package soak

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sockeye-io/sockeye/internal/websocket"
	"github.com/sockeye-io/sockeye/server"
)

// namespaceAttacks are about CONNECT packets.
var namespaceAttacks = []attack{
	// More than 64 that are not decided yet end the connection.
	{name: "unknown namespaces without end", memory: 1 << 20, run: within("unknown", func(p *peer) error {
		for i := range 20 {
			batch := make([]string, 500)
			for j := range batch {
				batch[j] = fmt.Sprintf("40/unknown-%d,", i*len(batch)+j)
			}
			if err := p.text(batch...); err != nil {
				return nil
			}
		}
		if err := p.alive(); err != nil && errors.As(err, new(*errClosed)) {
			return wantCode(err, websocket.CloseNoStatus)
		}
		return nil
	})},
	{name: "dynamic namespaces without end", memory: 16 << 20, most: 2, limited: connectLimits,
		run: within("dynamic namespaces without end", func(p *peer) error {
			for i := range 2000 {
				if joined, err := p.tryJoin(fmt.Sprintf("/func-%s-%d", p.sid, i), "{}"); !joined {
					return err
				}
			}
			return errors.New("2000 namespaces joined")
		})},
	{name: "long auth objects", memory: 8 << 20, limited: connectLimits,
		run: within("long auth objects", func(p *peer) error {
			auth := `{"path":"` + strings.Repeat("x", 400_000) + `"}`
			for i := range 5 {
				if joined, err := p.tryJoin(fmt.Sprintf("/func-%s-%d", p.sid, i), auth); !joined {
					return err
				}
			}
			return errors.New("2 MB of auth objects kept")
		})},
}

func connectLimits(s *server.Stats) uint64 {
	return s.Limits["namespaces"] + s.Limits["attempts"] + s.Limits["auth"]
}

// tryJoin joins a namespace and reports whether the server let it.
func (p *peer) tryJoin(namespace, auth string) (joined bool, err error) {
	if err := p.text("40" + namespace + "," + auth); err != nil {
		return false, err
	}
	for {
		answer, err := p.await("4")
		switch {
		case err != nil:
			return false, err
		case strings.HasPrefix(answer, "40"+namespace+","):
			return true, nil
		case strings.HasPrefix(answer, "44"+namespace+","):
			return false, nil
		}
	}
}
