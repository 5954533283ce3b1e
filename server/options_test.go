package server_test

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

func TestBadOptions(t *testing.T) {
	for want, opts := range map[string]*server.Options{
		"ConnectTimeout":     {ConnectTimeout: -time.Second},
		"AckTimeout":         {AckTimeout: -1},
		"InboxLimit":         {InboxLimit: -1},
		"HandlerConcurrency": {HandlerConcurrency: -1},
		"MaxAttachments":     {MaxAttachments: -1},
		"MaxNamespaces":      {MaxNamespaces: -1},
		"ping interval":      {Engine: engine.Options{PingInterval: -1}},
	} {
		if _, err := server.New(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
	opts := &server.Options{}
	if _, err := server.New(opts); err != nil || opts.Engine.Path != "" || opts.Adapter != nil {
		t.Errorf("options were changed: %+v, %v", opts, err)
	}
	if _, err := server.New(nil); err != nil {
		t.Error(err)
	}
}

func TestClientFiles(t *testing.T) {
	const banner = "/*!\n * Socket.IO v4.8.4\n */\n"
	files := fstest.MapFS{
		"socket.io.min.js.br": {Data: []byte("brotli")},
		"secret.js":           {Data: []byte("secret")},
	}
	names := []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"}
	for _, name := range names {
		files[name] = &fstest.MapFile{Data: []byte(banner + name)}
		files[name+".map"] = &fstest.MapFile{Data: []byte(`{"file":"` + name + `"}`)}
	}
	n := start(t, &server.Options{ClientFiles: files, Engine: engine.Options{CORS: &engine.CORS{Origin: "https://example.com"}}})
	for _, name := range names {
		for suffix, contentType := range map[string]string{"": "application/javascript; charset=utf-8", ".map": "application/json; charset=utf-8"} {
			resp := n.get(t, "/socket.io/"+name+suffix+"?v=1", nil)
			body, _ := io.ReadAll(resp.Body)
			h := resp.Header
			if resp.StatusCode != 200 || string(body) != string(files[name+suffix].Data) || h.Get("Content-Type") != contentType ||
				h.Get("ETag") != `"4.8.4"` || h.Get("Cache-Control") != "public, max-age=0" || h.Get("Access-Control-Allow-Origin") != "https://example.com" {
				t.Errorf("%s: status %d, headers %v, body %q", name+suffix, resp.StatusCode, h, body)
			}
		}
	}
	for _, etag := range []string{`"4.8.4"`, `W/"4.8.4"`} {
		if resp := n.get(t, "/socket.io/socket.io.js", http.Header{"If-None-Match": {etag}}); resp.StatusCode != 304 {
			t.Errorf("If-None-Match %s: status %d", etag, resp.StatusCode)
		}
	}
	for accept, want := range map[string]string{
		"gzip, deflate, br": "gzip", "br, gzip": "br", "gzip;q=0.5, br": "br", "deflate": "deflate", "identity, gzip": "", "gzip;q=0, *": "br",
	} {
		resp := n.get(t, "/socket.io/socket.io.min.js", http.Header{"Accept-Encoding": {accept}})
		var r io.Reader = resp.Body
		content := banner + "socket.io.min.js"
		got := resp.Header.Get("Content-Encoding")
		switch got {
		case "gzip":
			z, err := gzip.NewReader(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			r = z
		case "deflate":
			z, err := zlib.NewReader(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			r = z
		case "br":
			content = "brotli"
		}
		body, _ := io.ReadAll(r)
		if got != want || string(body) != content {
			t.Errorf("Accept-Encoding %s: got %q, body %q", accept, got, body)
		}
	}
	for _, path := range []string{"/socket.io/secret.js", "/socket.io/socket.io%2ejs", "/socket.io/x/socket.io.js"} {
		if resp := n.get(t, path, nil); resp.StatusCode != 400 {
			t.Errorf("%s: status %d, want the engine's 400", path, resp.StatusCode)
		}
	}
}

func TestNoClientFiles(t *testing.T) {
	resp := start(t, nil).get(t, "/socket.io/socket.io.js", nil)
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 404 || !strings.Contains(string(body), "socket.io-client") {
		t.Errorf("status %d, body %q", resp.StatusCode, body)
	}
	if resp := start(t, &server.Options{DisableClientFiles: true}).get(t, "/socket.io/socket.io.js", nil); resp.StatusCode != 400 {
		t.Errorf("disabled: status %d, want the engine's 400", resp.StatusCode)
	}
}

func TestData(t *testing.T) {
	n := start(t, nil)
	_, s := n.connect(t)
	d := s.Data()
	if err := d.Set("bad", func() {}); err == nil {
		t.Error("a function was stored")
	}
	type user struct{ Name string }
	if err := d.Set("user", user{"<ann>"}); err != nil {
		t.Fatal(err)
	}
	var u user
	if ok, err := d.Load("user", &u); !ok || err != nil || u.Name != "<ann>" {
		t.Errorf("loaded %v, %v, %v", u, ok, err)
	}
	if ok, err := d.Load("none", &u); ok || err != nil {
		t.Errorf("unknown key: %v, %v", ok, err)
	}
	if err := d.Set("a", 1); err != nil {
		t.Fatal(err)
	}
	if raw, err := d.MarshalJSON(); err != nil || string(raw) != `{"a":1,"user":{"Name":"<ann>"}}` || len(d.Keys()) != 2 {
		t.Errorf("JSON %s, %v", raw, err)
	}
	d.Delete("user")
	d.Delete("a")
	if raw, _ := d.MarshalJSON(); string(raw) != `{}` {
		t.Errorf("JSON %s", raw)
	}
}
