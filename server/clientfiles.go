package server

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/sockeye-io/sockeye/internal/acceptencoding"
)

// clientBundle is the part of the file names that differs; each comes with and without ".map".
var clientBundle = [...]string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"}

// missingBundle is the answer when the server was built or configured without the files.
const missingBundle = "The client bundle is not part of this server: `sockeye client-files DIR` writes it, as the npm package " +
	"socket.io-client has it in dist; give that directory, or an embed.FS of it, as server.Options.ClientFiles.\n"

// clientFiles serves the client bundle below the engine's path, with the reference's headers.
type clientFiles struct {
	// Static after construction.
	prefix string
	files  fs.FS

	mu sync.Mutex
	// Guarded by mu.
	etag string
	made map[string][]byte // compressed here, by encoding and name
}

func newClientFiles(path string, files fs.FS) *clientFiles {
	return &clientFiles{prefix: strings.TrimSuffix(path, "/") + "/", files: files, made: make(map[string][]byte)}
}

// middleware serves the eight files and passes everything else on.
func (c *clientFiles) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := c.name(r); ok {
			c.serve(w, r, name)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// name returns the bundle file that a request asks for. Like the reference it does not decode the path.
func (c *clientFiles) name(r *http.Request) (string, bool) {
	name, ok := strings.CutPrefix(r.URL.EscapedPath(), c.prefix)
	if !ok {
		return "", false
	}
	base := strings.TrimSuffix(name, ".map")
	for _, b := range clientBundle {
		if b == base {
			return name, true
		}
	}
	return "", false
}

func (c *clientFiles) serve(w http.ResponseWriter, r *http.Request, name string) {
	body, err := c.read(name)
	if err != nil {
		http.Error(w, missingBundle, http.StatusNotFound)
		return
	}
	etag := c.version()
	if match := r.Header.Get("If-None-Match"); match == etag || match == "W/"+etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=0")
	h.Set("ETag", etag)
	h.Set("Content-Type", "application/javascript; charset=utf-8")
	if strings.HasSuffix(name, ".map") {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	h.Add("Vary", "Accept-Encoding")
	for _, encoding := range acceptencoding.Preferred(r.Header.Values("Accept-Encoding"), "br", "gzip", "deflate", "identity") {
		if encoding == "identity" {
			break
		}
		if compressed := c.compressed(name, encoding, body); compressed != nil {
			h.Set("Content-Encoding", encoding)
			body = compressed
			break
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	// The client may have gone; there is nobody to tell.
	_, _ = w.Write(body)
}

func (c *clientFiles) read(name string) ([]byte, error) {
	if c.files == nil {
		return nil, fs.ErrNotExist
	}
	return fs.ReadFile(c.files, name)
}

// compressed returns a file in an encoding: from the file beside it, or compressed once and kept. It returns nil for an
// encoding that cannot be had.
func (c *clientFiles) compressed(name, encoding string, body []byte) []byte {
	suffix := map[string]string{"br": ".br", "gzip": ".gz"}[encoding]
	if suffix != "" {
		if b, err := c.read(name + suffix); err == nil {
			return b
		}
	}
	switch encoding {
	case "gzip":
		return c.compress(encoding+" "+name, body, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	case "deflate":
		return c.compress(encoding+" "+name, body, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	}
	return nil
}

func (c *clientFiles) compress(key string, body []byte, writer func(io.Writer) io.WriteCloser) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.made[key]; b != nil {
		return b
	}
	var buf bytes.Buffer
	z := writer(&buf)
	// Writing to a bytes.Buffer cannot fail.
	_, _ = z.Write(body)
	_ = z.Close()
	c.made[key] = buf.Bytes()
	return buf.Bytes()
}

var versionInBanner = regexp.MustCompile(`Socket\.IO v(\d+\.\d+\.\d+\S*)`)

// version returns the ETag: the version of the bundle as its banner gives it, as in the reference, or a hash.
func (c *clientFiles) version() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.etag != "" {
		return c.etag
	}
	sum := sha256.New()
	for _, name := range clientBundle {
		body, err := c.read(name)
		if err != nil {
			continue
		}
		if m := versionInBanner.FindSubmatch(body[:min(len(body), 512)]); m != nil {
			c.etag = `"` + string(m[1]) + `"`
			return c.etag
		}
		sum.Write(body)
	}
	c.etag = `"` + hex.EncodeToString(sum.Sum(nil)[:8]) + `"`
	return c.etag
}
