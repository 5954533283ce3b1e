// Command zishang is github.com/zishang520/socket.io with the events of `sockeye serve --app bench`. It listens on
// 127.0.0.1 at the port that the environment variable PORT names, with TLS if CERT and KEY name files.
package main

import (
	"log"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/sockeye-io/sockeye/bench/computing"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

func main() {
	io := socket.NewServer(nil, nil)
	var work computing.Set
	err := io.On("connection", func(clients ...any) {
		client := clients[0].(*socket.Socket)
		on := func(event string, handler func(args []any, ack func(...any))) {
			if err := client.On(event, func(args ...any) {
				ack := func(...any) {}
				if last := len(args) - 1; last >= 0 {
					if f, ok := args[last].(socket.Ack); ok {
						ack, args = func(answer ...any) { f(answer, nil) }, args[:last]
					}
				}
				handler(args, ack)
			}); err != nil {
				log.Print(err)
			}
		}
		on("join", func(args []any, ack func(...any)) {
			client.Join(socket.Room(args[0].(string)))
			ack()
		})
		on("leave", func(args []any, ack func(...any)) {
			client.Leave(socket.Room(args[0].(string)))
			ack()
		})
		on("message", func(args []any, _ func(...any)) { check(client.Emit("message-back", args...)) })
		on("direct", func(args []any, _ func(...any)) {
			check(io.To(socket.Room(args[0].(string))).Emit("msg", args[1]))
		})
		on("bcast", func(args []any, ack func(...any)) {
			for range int(args[0].(float64)) {
				check(io.To("room").Emit("msg", args[1]))
			}
			ack()
		})
		on("compute", func(args []any, ack func(...any)) { ack(work.Set(int(args[0].(float64)))) })
		on("gc", func(_ []any, ack func(...any)) {
			debug.FreeOSMemory()
			ack()
		})
	})
	check(err)
	http.Handle("/socket.io/", io.ServeHandler(nil))
	addr := "127.0.0.1:" + os.Getenv("PORT")
	if cert := os.Getenv("CERT"); cert != "" {
		log.Fatal(http.ListenAndServeTLS(addr, cert, os.Getenv("KEY"), nil))
	}
	log.Fatal(http.ListenAndServe(addr, nil))
}

func check(err error) {
	if err != nil {
		log.Print(err)
	}
}
