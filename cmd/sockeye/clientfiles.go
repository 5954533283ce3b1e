package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	webdemo "github.com/sockeye-io/sockeye/web-demo"
)

// clientFilesCommand writes the client bundles for a program that embeds or serves them.
type clientFilesCommand struct {
	Dir string `arg:"" type:"path" help:"Directory to write to; it is made if it is not there."`
}

// Help is what --help says besides the flags.
func (*clientFilesCommand) Help() string {
	return `Writes the bundles of the npm package socket.io-client that this program carries, each also compressed, and LICENSE with the
licences of what is in them. A Go program puts them into itself and serves them below /socket.io/:

  sockeye client-files client

  //go:embed client
  var bundle embed.FS

  files, err := fs.Sub(bundle, "client")
  srv, err := server.New(&server.Options{ClientFiles: files})`
}

// Run writes the files.
func (c *clientFilesCommand) Run(out *streams) error {
	files, ok := webdemo.Client()
	if !ok {
		return errors.New("write client files: this binary was built without them; `make build` puts them in")
	}
	n, err := writeFiles(c.Dir, files)
	if err != nil {
		return fmt.Errorf("write client files: %w", err)
	}
	_, err = fmt.Fprintf(out.stdout, "%d files in %s; give the directory, or an embed.FS of it, as server.Options.ClientFiles\n", n, c.Dir)
	return err
}

// writeFiles writes all files of a directory, over those of the same names.
func writeFiles(dir string, files fs.FS) (n int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		data, err := fs.ReadFile(files, entry.Name())
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, entry.Name()), data, 0o644)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
