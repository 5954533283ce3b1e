// Command upload receives files as binary attachments.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/sockeye-io/sockeye/server"
)

// maxFile is the largest file in bytes. Larger messages close the connection before they are read into memory.
const maxFile = 4 << 20

// file is what the client sends: socket.emit("upload", {name, data: await blob.arrayBuffer()}, (receipt) => …).
type file struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

type receipt struct {
	Name   string `json:"name"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

func newServer() (*server.Server, error) {
	srv, err := server.New(&server.Options{Engine: server.EngineOptions{MaxHTTPBufferSize: maxFile}})
	if err != nil {
		return nil, err
	}
	srv.Of("/").Handle("upload", server.FuncAck(func(_ context.Context, s *server.Socket, f file) (receipt, error) {
		sum := sha256.Sum256(f.Data)
		// []byte travels as binary in this direction too: everybody else gets the file.
		if err := s.Broadcast().Emit("uploaded", f); err != nil {
			return receipt{}, err
		}
		return receipt{Name: f.Name, Size: len(f.Data), SHA256: hex.EncodeToString(sum[:])}, nil
	}))
	return srv, nil
}

func main() {
	srv, err := newServer()
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.ListenAndServe(ctx, "127.0.0.1:3000", srv); err != nil {
		log.Fatal(err)
	}
}
