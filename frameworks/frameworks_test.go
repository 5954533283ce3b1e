package frameworks

import (
	"bytes"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"

	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/server"
)

func init() { gin.SetMode(gin.ReleaseMode) }

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }

// mounted is each way to mount a server that docs/frameworks.md shows.
var mounted = map[string]func(t *testing.T, srv *server.Server) http.Handler{
	"net/http": func(_ *testing.T, srv *server.Server) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/socket.io/", srv)
		mux.HandleFunc("/hello", hello)
		return mux
	},
	"gin": func(_ *testing.T, srv *server.Server) http.Handler {
		router := gin.New()
		router.Use(gin.Recovery())
		router.Any("/socket.io/*any", gin.WrapH(srv))
		router.GET("/hello", gin.WrapF(hello))
		return router
	},
	"echo": func(_ *testing.T, srv *server.Server) http.Handler {
		e := echo.New()
		e.Use(echomiddleware.Recover(), echomiddleware.Gzip())
		e.Any("/socket.io/*", echo.WrapHandler(srv))
		e.GET("/hello", echo.WrapHandler(http.HandlerFunc(hello)))
		return e
	},
	"chi": func(_ *testing.T, srv *server.Server) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.RequestID, chimiddleware.Recoverer, chimiddleware.Compress(5))
		r.Handle("/socket.io/*", srv)
		r.Get("/hello", hello)
		return r
	},
	"fiber behind net/http": func(_ *testing.T, srv *server.Server) http.Handler {
		app := fiber.New()
		app.Get("/hello", func(c *fiber.Ctx) error { return c.SendString("hello") })
		mux := http.NewServeMux()
		mux.Handle("/socket.io/", srv)
		mux.Handle("/", adaptor.FiberApp(app))
		return mux
	},
	"ReverseProxy": func(t *testing.T, srv *server.Server) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/socket.io/", srv)
		mux.HandleFunc("/hello", hello)
		backend, err := url.Parse(serve(t, mux))
		if err != nil {
			t.Fatal(err)
		}
		return &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(backend)
				r.Out.Host = r.In.Host
				r.SetXForwarded()
			},
			FlushInterval: -1,
		}
	},
	"a deadline for each request": func(_ *testing.T, srv *server.Server) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.Timeout(time.Minute))
		r.Handle("/socket.io/*", srv)
		r.Get("/hello", hello)
		return r
	},
	"TimeoutHandler beside it": func(_ *testing.T, srv *server.Server) http.Handler {
		rest := http.NewServeMux()
		rest.HandleFunc("/hello", hello)
		mux := http.NewServeMux()
		mux.Handle("/socket.io/", srv)
		mux.Handle("/", http.TimeoutHandler(rest, time.Minute, "too late"))
		return mux
	},
}

func TestMounted(t *testing.T) {
	for name, mount := range mounted {
		t.Run(name, func(t *testing.T) {
			proxies, err := server.ParseTrustedProxies("127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			opts := server.Options{NodeName: "one"}
			opts.Engine.TrustedProxies = proxies
			base := serve(t, mount(t, newServer(t, opts)))
			seen, err := newClient(base+"/socket.io/", nil).use()
			if err != nil {
				t.Fatal(err)
			}
			if want := (who{"one", away, false}); seen != [3]who{want, want, want} {
				t.Errorf("the server saw %+v", seen)
			}
			res, err := http.Get(base + "/hello")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var body bytes.Buffer
			if _, err := body.ReadFrom(res.Body); err != nil || body.String() != "hello" {
				t.Errorf("the rest of the program: %q, %v", body.String(), err)
			}
		})
	}
}

// TestPaths mounts servers below a prefix and without the slash at the end.
func TestPaths(t *testing.T) {
	for name, c := range map[string]struct {
		engine  server.EngineOptions
		pattern string
		path    string
	}{
		"below a prefix":                    {server.EngineOptions{Path: "/app/live"}, "/app/live/", "/app/live/"},
		"without the slash":                 {server.EngineOptions{DisableTrailingSlash: true}, "/socket.io", "/socket.io"},
		"without, and a client that has it": {server.EngineOptions{DisableTrailingSlash: true}, "/socket.io/", "/socket.io/"},
	} {
		t.Run(name, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.Handle(c.pattern, newServer(t, server.Options{Engine: c.engine}))
			if _, err := newClient(serve(t, mux)+c.path, nil).use(); err != nil {
				t.Error(err)
			}
		})
	}
	// A mux answers a path with two slashes itself.
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", newServer(t, server.Options{}))
	keep := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, path := range []string{"//socket.io/", "/socket.io//"} {
		res, err := keep.Get(serve(t, mux) + path + "?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if where := res.Header.Get("Location"); res.StatusCode != http.StatusTemporaryRedirect || where != "/socket.io/?EIO=4&transport=polling" {
			t.Errorf("%s: %d to %s", path, res.StatusCode, where)
		}
	}
	// A prefix that the router takes away is no longer in the URL, but still in the request line: the path is the client's.
	stripped := http.StripPrefix("/app", newServer(t, server.Options{}))
	if _, err := newClient(serve(t, stripped)+"/app/socket.io/", nil).use(); err != nil {
		t.Error(err)
	}
}

// TestNotHijackable names the writer that stands in the way. Polling goes on.
func TestNotHijackable(t *testing.T) {
	for name, c := range map[string]struct {
		mount  func(srv *server.Server) http.Handler
		writer string
	}{
		"TimeoutHandler": {func(srv *server.Server) http.Handler {
			return http.TimeoutHandler(srv, time.Minute, "too late")
		}, "*http.timeoutWriter"},
		"a middleware's": {func(srv *server.Server) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { srv.ServeHTTP(&counting{w: w}, r) })
		}, "*frameworks.counting"},
		"behind another's": {func(srv *server.Server) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				srv.ServeHTTP(unwrapping{&counting{w: w}}, r)
			})
		}, "*frameworks.counting"},
	} {
		t.Run(name, func(t *testing.T) {
			var log logtest.Log
			srv := newServer(t, server.Options{Logger: log.Logger()})
			c2 := newClient(serve(t, c.mount(srv))+"/socket.io/", nil)
			if err := c2.open(); err != nil {
				t.Fatal(err)
			}
			if _, err := c2.overWebSocket("", nil, "0{"); err == nil {
				t.Fatal("there is a websocket")
			}
			if _, err := c2.ask(); err != nil {
				t.Errorf("polling does not go on: %v", err)
			}
			if text := log.String(); !strings.Contains(text, "writer="+c.writer) || !strings.Contains(text, "Unwrap") {
				t.Errorf("logged %q", text)
			}
		})
	}
}

// TestFiberAround shows what not to do: Fiber's server knows no http.Hijacker.
func TestFiberAround(t *testing.T) {
	var log logtest.Log
	srv := newServer(t, server.Options{Logger: log.Logger()})
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.All("/socket.io/*", adaptor.HTTPHandler(srv))
	r, err := http.NewRequest(http.MethodGet, "http://x/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13",
		"Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(name, value)
	}
	res, err := app.Test(r, int(patience.Milliseconds()))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text := log.String(); res.StatusCode != http.StatusInternalServerError || !strings.Contains(text, "fasthttp") {
		t.Errorf("status %d, logged %q", res.StatusCode, text)
	}
}

// TestRequestDeadline has a middleware end the context of each request: a parked poll is answered, and the client comes back.
func TestRequestDeadline(t *testing.T) {
	r := chi.NewRouter()
	r.Use(chimiddleware.Timeout(50 * time.Millisecond))
	r.Handle("/socket.io/*", newServer(t, server.Options{}))
	c := newClient(serve(t, r)+"/socket.io/", nil)
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if body, err := c.request(http.MethodGet, ""); err != nil || body != "6" {
			t.Fatalf("a parked poll was answered %q, %v", body, err)
		}
	}
	if _, err := c.ask(); err != nil {
		t.Error(err)
	}
}

// counting wraps a writer and forgets to say what it wraps.
type counting struct {
	w     http.ResponseWriter
	bytes int
}

func (c *counting) Header() http.Header    { return c.w.Header() }
func (c *counting) WriteHeader(status int) { c.w.WriteHeader(status) }
func (c *counting) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return c.w.Write(p)
}

type unwrapping struct{ http.ResponseWriter }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }
