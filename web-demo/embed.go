// Package webdemo holds the demo page and the client bundles that `make build` puts into dist.
//
// A plain `go build` on a fresh clone embeds an empty dist: the page and the bundles are then missing, and whoever
// serves them says how to build them.
package webdemo

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Page returns the files of the demo page, index.html among them, and false when they have not been built.
func Page() (fs.FS, bool) { return built("dist/page") }

// Client returns the eight bundle files of the npm package socket.io, each with a .br and a .gz twin, and false when
// they have not been built.
func Client() (fs.FS, bool) { return built("dist/client") }

func built(dir string) (fs.FS, bool) {
	if _, err := fs.Stat(dist, dir); err != nil {
		return nil, false
	}
	sub, err := fs.Sub(dist, dir)
	return sub, err == nil
}
