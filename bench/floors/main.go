// Command floors measures what the kernel and Go's net and net/http packages cost by themselves, with nothing of Socket.IO on
// top: the least that a server could need. It prints one JSON object.
//
//	floors -what write   -clients 5000              CPU per frame of a loop of non-blocking writes, one frame each
//	floors -what batch   -clients 5000              the same with 100 frames in each write
//	floors -what accept  -clients 2000 -more 10000  resident memory per accepted connection
//	floors -what upgrade -clients 5000              CPU per WebSocket upgrade through net/http with one echo
//
//	floors -serve hot -port 3000                    a server for the echoes of `sockeye bench`: hot, goroutines or gobwas
//
// The clients are in a process of their own, this program once more with -dial.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"time"
)

// result is what is printed; what does not apply is 0.
type result struct {
	CPU    float64 `json:"cpu_us,omitempty"`           // per frame or upgrade
	Memory float64 `json:"bytes_per_client,omitempty"` // without a forced garbage collection
}

const (
	rounds = 20
	frames = 100 // of a batch
)

func main() {
	log.SetFlags(0)
	what := flag.String("what", "write", "write, batch, accept or upgrade")
	clients := flag.Int("clients", 5000, "connections")
	more := flag.Int("more", 10000, "connections of the second measurement of accept")
	hold := flag.Duration("hold", 10*time.Second, "time until memory is read")
	address := flag.String("dial", "", "be the process of the clients, which connects to this address")
	upgrades := flag.Bool("upgrade", false, "with -dial: make the WebSocket handshake and one echo")
	kind := flag.String("serve", "", "be a server for echoes instead: goroutines, hot or gobwas")
	port := flag.Int("port", 3000, "with -serve: where to listen, at 127.0.0.1")
	flag.Parse()
	if *kind != "" {
		if err := serve(*kind, *port); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *address != "" {
		if err := dial(*address, *upgrades); err != nil {
			log.Fatal(err)
		}
		return
	}
	var res result
	var err error
	switch *what {
	case "write":
		res.CPU, err = write(*clients, 1)
	case "batch":
		res.CPU, err = write(*clients, frames)
	case "accept":
		res.Memory, err = accept(*clients, *more, *hold)
	case "upgrade":
		res.CPU, err = upgrade(*clients)
	default:
		err = fmt.Errorf("unknown floor %q", *what)
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(res); err != nil {
		log.Fatal(err)
	}
}
