package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/api"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestPublish sends to rooms, users, sockets and everybody, on whichever node they are.
func TestPublish(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		ann, bob, eve := nodes[0].login("ann"), nodes[1].login("bob"), nodes[1].login("")
		nodes[1].join(bob, "#news")
		nodes[1].join(eve, "#news", "#spam")
		one := nodes[0]
		var d done
		one.post("/v1/publish", `{"rooms":["#news"],"except":["#spam"],"event":"a","args":[{"z":1,"a":2.0},"text"],"compress":false}`, &d)
		bob.Expect("a", map[string]any{"z": 1, "a": 2}, "text")
		one.post("/v1/publish", `{"users":["bob","ann","nobody"],"event":"b","volatile":true}`, &d)
		if d.Partial || !slices.Equal(d.Offline, []string{"nobody"}) {
			t.Errorf("answered %+v", d)
		}
		bob.Expect("b")
		ann.Expect("b")
		one.post("/v1/publish", `{"users":["bob"],"except":["`+bob.ID()+`"],"event":"not for this socket"}`, nil)
		one.post("/v1/publish", `{"sockets":["`+eve.ID()+`"],"event":"c","namespace":"/"}`, nil)
		eve.Expect("c")
		one.post("/v1/publish", `{"all":true,"local":true,"event":"d"}`, nil)
		one.post("/v1/publish", `{"rooms":[],"event":"nobody"}`, nil)
		one.post("/v1/publish", `{"all":true,"event":"e"}`, nil)
		ann.Expect("d")
		for _, s := range []*servertest.Socket{ann, bob, eve} {

			s.Expect("e")
		}
	})
}

// TestPublishBinary: what stands for binary becomes an attachment; all other text stays as it was.
func TestPublishBinary(t *testing.T) {
	bubble(t, "n1", func(t *testing.T, w *world, nodes []*node) {
		ann := nodes[0].login("ann")
		data := base64.StdEncoding.EncodeToString([]byte("\x00\xff binary"))
		nodes[0].post("/v1/publish", `{"all":true,"event":"b","args":[{"x":[{"$binary":"`+data+`"},{ "\u0024binary" : "" }],"$binary":1,"y":{"$binary":"AA==","more":true}},"$binary"]}`, nil)
		ann.Expect("b", map[string]any{"x": []any{[]byte("\x00\xff binary"), []byte{}}, "$binary": 1, "y": map[string]any{"$binary": "AA==", "more": true}}, "$binary")
		for _, args := range []string{`[{"$binary":"?"}]`, `[{"$binary":"AA=="},{"_placeholder":true,"num":0},{"$binary":"AA=="}]`,
			`[[{"$binary":"AA=="},{"_placeholder":true,"num":0}]]`, `[` + strings.Repeat(`{"$binary":"AA=="},`, 10) + `{"$binary":"AA=="}]`} {
			nodes[0].refused(nodes[0].ask(allSecret, "POST", "/v1/publish", `{"all":true,"event":"b","args":`+args+`}`), 400, "invalid")
		}
	})
}

// TestCommands: join, leave, disconnect.
func TestCommands(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		one, bob, bob2, eve := nodes[0], nodes[1].login("bob"), nodes[0].login("bob"), nodes[1].login("eve")
		rooms := func(want int) {
			t.Helper()
			synctest.Wait()
			var n struct{ Sockets int }
			one.get("/v1/count?room=a&room=b", &n)
			if n.Sockets != want {
				t.Errorf("%d sockets are in the rooms, want %d", n.Sockets, want)
			}
		}
		one.post("/v1/join", `{"users":["bob"],"into":["a"]}`, nil)
		one.post("/v1/join", `{"sockets":["`+eve.ID()+`"],"into":["b","c"]}`, nil)
		rooms(3)
		one.post("/v1/leave", `{"users":["bob"],"except":["`+bob2.ID()+`"],"from":["a"]}`, nil)
		rooms(2)
		one.post("/v1/leave", `{"rooms":["c"],"from":["b","c"]}`, nil)
		rooms(1)
		one.post("/v1/disconnect", `{"users":["bob"],"except":["`+bob2.ID()+`"]}`, nil)
		bob.ExpectDisconnect()
		one.post("/v1/disconnect", `{"sockets":["`+eve.ID()+`"],"close":true}`, nil)
		eve.Client().ExpectClosed()
		one.post("/v1/disconnect", `{"users":["bob"],"close":true}`, nil)
		bob2.Client().ExpectClosed()
	})
}

// TestBatch: operations are done in their order, and one that fails stops no other.
func TestBatch(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		bob := nodes[1].login("bob")
		var out struct {
			Failed  int
			Results []struct {
				Partial *bool
				Offline []string
				Error   *struct{ Code string }
			}
		}
		nodes[0].post("/v1/batch", `{"operations":[
			{"join":{"users":["bob"],"into":["r"]}},
			{"publish":{"rooms":["r"],"event":"one"}},
			{"publish":{"rooms":["r"],"event":"disconnect"}},
			{"publish":{"users":["nobody"],"event":"one"}},
			{"leave":{"users":["bob"],"from":["r"]}},
			{"publish":{"rooms":["r"],"event":"two"}},
			{"disconnect":{"users":["bob"]}}]}`, &out)
		if len(out.Results) != 7 || out.Failed != 1 || out.Results[2].Error == nil || out.Results[2].Error.Code != "reserved_event" ||
			out.Results[2].Partial != nil || len(out.Results[3].Offline) != 1 || out.Results[6].Partial == nil {
			t.Errorf("answered %+v", out)
		}
		bob.Expect("one")
		bob.ExpectDisconnect()
		for _, body := range []string{`{"operations":[]}`, `{"operations":[` + strings.Repeat(`{"join":{"rooms":[],"into":["a"]}},`, 1000) + `{}]}`} {
			nodes[0].refused(nodes[0].ask(allSecret, "POST", "/v1/batch", body), 400, "invalid")
		}
		nodes[0].post("/v1/batch", `{"operations":[{"join":{"rooms":["x"],"into":["a"]}}]}`, &out)
		w2 := nodes[0].ask(allSecret, "POST", "/v1/batch", `{"operations":[{}]}`)
		if !strings.Contains(w2.Body.String(), `"failed":1`) {
			t.Errorf("answered %s", w2.Body)
		}
		*w.exchanges = (*w.exchanges)[:len(*w.exchanges)-1] // the document refuses the operation as such
	})
}

// TestQuestions: nodes, namespaces, numbers and who is where.
func TestQuestions(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		one := nodes[0]
		nodes[0].srv.Of("/other")
		nodes[1].srv.Of("/other")
		bob, bob2 := nodes[1].login("bob"), nodes[0].login("bob")
		nodes[0].login("ann")
		nodes[1].Connect(t, "/other", nil)
		nodes[1].join(bob, "#a")
		var all struct {
			Partial bool
			Foreign int
			Nodes   []struct {
				Name, State, ID string
				Self            bool
				Status          struct{ Sockets, Connections, Users int }
			}
		}
		one.get("/v1/nodes", &all)
		if len(all.Nodes) != 2 || all.Partial || all.Foreign != 0 || !all.Nodes[0].Self || all.Nodes[0].Name != "n1" || all.Nodes[1].ID != "n2" ||
			all.Nodes[1].Status.Sockets != 2 || all.Nodes[0].Status.Users != 2 || all.Nodes[1].State != "alive" {
			t.Errorf("nodes %+v", all)
		}
		var spaces struct {
			Namespaces []struct {
				Name    string
				Sockets int
			}
		}
		one.get("/v1/namespaces", &spaces)
		if got := fmt.Sprint(spaces.Namespaces); got != "[{/ 3} {/other 1}]" {
			t.Errorf("namespaces %s", got)
		}
		for target, want := range map[string]string{
			"": "3 0", "room=%23a": "1 0", "except=%23a": "2 0", "namespace=/other": "1 0", "namespace=other": "1 0", "user=bob": "2 0", "user=nobody": "0 0",
			"users=true": "3 2", "users&room=%23a": "1 1", "local=true": "2 0", "local=false": "3 0", "room=nowhere": "0 0",
		} {
			var n struct{ Sockets, Users int }
			one.get("/v1/count?"+target, &n)
			if got := fmt.Sprint(n.Sockets, " ", n.Users); got != want {
				t.Errorf("count of %q is %s, want %s", target, got, want)
			}
		}
		var p struct {
			Total int
			Users []struct {
				User    string
				Sockets int
				Nodes   []string
				Info    map[string]string
			}
		}
		one.get("/v1/presence?limit=1", &p)
		if p.Total != 2 || len(p.Users) != 1 || p.Users[0].User != "ann" || p.Users[0].Info["name"] != "ANN" {
			t.Errorf("presence %+v", p)
		}
		one.get("/v1/presence?room=%23a", &p)
		if p.Total != 1 || p.Users[0].User != "bob" || !slices.Equal(p.Users[0].Nodes, []string{"n2"}) {
			t.Errorf("presence in the room %+v", p)
		}
		var u struct {
			State   string
			Sockets int
			Nodes   []string
		}
		one.get("/v1/users/bob", &u)
		slices.Sort(u.Nodes)
		if u.State != "online" || u.Sockets != 2 || !slices.Equal(u.Nodes, []string{"n1", "n2"}) {
			t.Errorf("user %+v", u)
		}
		one.get("/v1/users/no%2Fbody", &u)
		if u.State != "offline" || u.Sockets != 0 || len(u.Nodes) != 0 {
			t.Errorf("user who is not there %+v", u)
		}
		var sockets struct {
			Sockets []struct {
				ID, Node, Address string
				Rooms             []string
				Data              map[string]any
			}
		}
		one.get("/v1/users/bob/sockets", &sockets)
		if len(sockets.Sockets) != 2 || sockets.Sockets[0].Data["sockeye.user"] == nil {
			t.Errorf("sockets %+v", sockets)
		}
		var s struct {
			ID, Node string
			Rooms    []string
		}
		one.get("/v1/sockets/"+bob.ID(), &s)
		if s.ID != bob.ID() || s.Node != "n2" || !slices.Contains(s.Rooms, "#a") {
			t.Errorf("socket %+v", s)
		}
		one.get("/v1/sockets/"+bob2.ID(), &s)
		if s.Node != "n1" {
			t.Errorf("socket %+v", s)
		}
		one.refused(one.ask(readSecret, "GET", "/v1/sockets/%23a", ""), 404, "unknown_socket")
	})
}

// TestPartial: an answer without a node that is not heard says so, and is no error.
func TestPartial(t *testing.T) {
	bubble(t, "n1 n2 n3", func(t *testing.T, w *world, nodes []*node) {
		nodes[2].login("bob")
		w.cluster.Freeze("n3")
		var out struct {
			Partial    bool
			Missing    []string
			Unanswered int
		}
		for _, target := range []string{"/v1/nodes", "/v1/namespaces", "/v1/count", "/v1/presence"} {
			out.Partial, out.Missing = false, nil
			nodes[0].get(target, &out)
			if !out.Partial || !slices.Equal(out.Missing, []string{"n3"}) || out.Unanswered != 1 {
				t.Errorf("%s answers %+v", target, out)
			}
		}
		w.cluster.Thaw("n3")
		w.cluster.Cut("n1")
		var d done
		nodes[0].post("/v1/publish", `{"all":true,"event":"a"}`, &d)
		w.cluster.Heal("n1")
		w.settle()
		nodes[0].get("/v1/count", &out)
		if out.Partial {
			t.Errorf("after all answers %+v", out)
		}
	})
}

// TestUnknownNamespace: a question or a command makes no namespace, whether no node has it or another one does.
func TestUnknownNamespace(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		nodes[1].srv.Of("/there")
		there := nodes[1].Connect(t, "/there", nil)
		publish := `{"namespace":"there","all":true,"event":"a"}`
		for _, answer := range []*httptest.ResponseRecorder{
			nodes[0].ask(allSecret, "POST", "/v1/publish", publish),
			nodes[0].ask(readSecret, "GET", "/v1/count?namespace=/there", ""),
			nodes[0].ask(readSecret, "GET", "/v1/sockets/"+there.ID()+"?namespace=/there", ""),
		} {
			nodes[0].refused(answer, 409, "elsewhere")
			if !strings.Contains(answer.Body.String(), "it: n2\"") {
				t.Errorf("the answer does not name the node: %s", answer.Body)
			}
		}
		nodes[1].post("/v1/publish", publish, nil)
		there.Expect("a")
		nodes[0].refused(nodes[0].ask(allSecret, "POST", "/v1/publish", `{"namespace":"/nowhere","all":true,"event":"a"}`), 404, "unknown_namespace")
		nodes[0].refused(nodes[0].ask(allSecret, "GET", "/v1/count?namespace=nowhere", ""), 404, "unknown_namespace")
		if got := len(nodes[0].srv.Namespaces()); got != 1 {
			t.Errorf("the node has %d namespaces, want 1", got)
		}
	})
}

// TestCredentials: who has none learns nothing, and none does more than its scope.
func TestCredentials(t *testing.T) {
	bubble(t, "n1", func(t *testing.T, w *world, nodes []*node) {
		n := nodes[0]
		body := `{"all":true,"event":"a"}`
		for _, secret := range []string{"", "wrong", readSecret + "x", readSecret[1:]} {
			for _, target := range []string{"/v1/nodes", "/v1/nowhere", "/", "/v1/publish"} {
				w := n.ask(secret, "GET", target, "")
				n.refused(w, 401, "unauthorized")
				if w.Header().Get("WWW-Authenticate") == "" {
					t.Error("no WWW-Authenticate")
				}
			}
		}
		n.refused(n.ask("", "GET", "/v1/nodes", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+allSecret))), 401, "unauthorized")
		n.refused(n.ask(readSecret, "POST", "/v1/publish", body), 403, "forbidden")
		n.refused(n.ask(readSecret, "GET", "/v1/nowhere", ""), 404, "not_found")
		n.refused(n.ask(readSecret, "DELETE", "/v1/nodes", ""), 405, "method_not_allowed")
		n.get("/v1/nodes", nil)
		n.ok(n.ask(writeSecret, "POST", "/v1/publish", body), nil)
		n.ok(n.ask("", "GET", "/v1/nodes", "", "Authorization", "bearer  "+writeSecret), nil)
		for _, w := range []*httptest.ResponseRecorder{n.ask(writeSecret, "GET", "/v1/openapi.yaml", "")} {
			if w.Code != 200 || !strings.HasPrefix(w.Body.String(), "openapi: 3.1") {
				t.Errorf("document: %d %.20s", w.Code, w.Body)
			}
		}
	})
}

// TestOtherCredentials: client certificates that were verified, and whatever the application accepts.
func TestOtherCredentials(t *testing.T) {
	srv, err := server.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	a, err := api.New(srv, &api.Options{ClientCertificates: true, Authorize: func(r *http.Request) (string, api.Scope) {
		if r.Header.Get("X-Me") == "me" {
			return "me", api.ScopeRead
		}
		return "", api.ScopeNone
	}, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	certificate := &x509.Certificate{}
	for _, tc := range []struct {
		state  *tls.ConnectionState
		me     string
		method string
		want   int
	}{
		{nil, "", "GET", 401},
		{&tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}, "", "GET", 401}, // shown, not verified
		{&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{certificate}}}, "", "GET", 200},
		{nil, "me", "GET", 200},
		{nil, "me", "POST", 405},
	} {
		r := httptest.NewRequest(tc.method, "/v1/nodes", nil)
		r.TLS = tc.state
		r.Header.Set("X-Me", tc.me)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%+v: %d %s", tc, w.Code, w.Body)
		}
	}
}

// TestNew: there is no API without a credential, and none with a weak one.
func TestNew(t *testing.T) {
	srv, err := server.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for _, o := range []*api.Options{nil, {}, {Tokens: []api.Token{{Secret: "short", Scope: api.ScopeAll}}}, {Tokens: []api.Token{{Secret: allSecret}}},
		{Tokens: tokens, Timeout: -1}} {
		if a, err := api.New(srv, o); err == nil {
			a.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestBadRequests: what does not fit is refused, with a reason.
func TestBadRequests(t *testing.T) {
	bubble(t, "n1", func(t *testing.T, w *world, nodes []*node) {
		n := nodes[0]
		long := strings.Repeat("x", 4097)
		many := `["a"` + strings.Repeat(`,"a"`, 1000) + `]`
		for _, body := range []string{
			`{`, `[]`, `null`, `{"event":"a"}`, `{"all":true,"rooms":["a"],"event":"a"}`, `{"all":true}`, `{"all":true,"event":"a","unknown":1}`, `{"all":true,"event":"a"} {}`,
			`{"rooms":"a","event":"a"}`, `{"rooms":[""],"event":"a"}`, `{"rooms":["` + long + `"],"event":"a"}`, `{"rooms":` + many + `,"event":"a"}`,
			`{"users":["bob"],"local":true,"event":"a"}`, `{"users":["bob"],"namespace":"/x","event":"a"}`, `{"all":true,"event":"` + long + `"}`,
			`{"all":true,"event":"a","args":["\ud800",` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `]}`,
		} {
			n.refused(n.ask(allSecret, "POST", "/v1/publish", body), 400, "invalid")
		}
		n.refused(n.ask(allSecret, "POST", "/v1/publish", `{"all":true,"event":"connect"}`), 400, "reserved_event")
		n.refused(n.ask(allSecret, "POST", "/v1/publish", ""), 415, "unsupported_media_type")
		n.refused(n.ask(allSecret, "POST", "/v1/publish", `{}`, "Content-Type", "text/plain"), 415, "unsupported_media_type")
		n.refused(n.ask(allSecret, "POST", "/v1/publish", `{"all":true,"event":"a","args":["`+strings.Repeat("x", 1<<20)+`"]}`), 413, "too_large")
		n.refused(n.ask(allSecret, "POST", "/v1/join", `{"all":true,"into":[]}`), 400, "invalid")
		n.refused(n.ask(allSecret, "POST", "/v1/leave", `{"all":true}`), 400, "invalid")
		for _, target := range []string{"/v1/count?rooms=a", "/v1/count?user=a&room=b", "/v1/count?local=maybe", "/v1/count?users&room=a&room=b", "/v1/count?room=",
			"/v1/presence?limit=x", "/v1/presence?limit=10001", "/v1/presence?room=a&room=b", "/v1/users/" + long, "/v1/nodes?x=1"} {
			n.refused(n.ask(readSecret, "GET", target, ""), 400, "invalid")
		}
	})
}

// TestNoDirectory: what is said of users needs one.
func TestNoDirectory(t *testing.T) {
	srv, err := server.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	a, err := api.New(srv, &api.Options{Tokens: tokens, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, target := range []string{"GET /v1/users/a", "GET /v1/users/a/sockets", "GET /v1/presence", "GET /v1/count?user=a", "GET /v1/count?users", "POST /v1/publish"} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, path, strings.NewReader(`{"users":["a"],"event":"a"}`))
		r.Header.Set("Authorization", "Bearer "+allSecret)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != 404 || !strings.Contains(w.Body.String(), "no_directory") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// TestIdempotencyOfPaths: one key for two nodes is two requests.
func TestIdempotencyOfPaths(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		n := nodes[0]
		n.ok(n.ask(allSecret, "POST", "/v1/nodes/n1/undrain", "", "Idempotency-Key", "k"), nil)
		n.refused(n.ask(allSecret, "POST", "/v1/nodes/n2/undrain", "", "Idempotency-Key", "k"), 422, "key_reused")
	})
}

// TestIdempotencyOutlivesCaller: a command with a key is done whole although its caller has hung up.
func TestIdempotencyOutlivesCaller(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := httptest.NewRequestWithContext(ctx, "POST", "http://127.0.0.1:9000/v1/nodes/n2/undrain", nil)
		r.Header.Set("Authorization", "Bearer "+allSecret)
		r.Header.Set("Idempotency-Key", "k")
		answer := httptest.NewRecorder()
		nodes[0].api.ServeHTTP(answer, r)
		nodes[0].ok(answer, nil)
	})
}

// TestCrossOrigin: a page of another origin gives no command, though a browser shows its certificate.
func TestCrossOrigin(t *testing.T) {
	bubble(t, "n1", func(t *testing.T, w *world, nodes []*node) {
		n := nodes[0]
		for _, target := range []string{"/v1/nodes/self/drain", "/v1/nodes/self/undrain", "/v1/rebalance"} {
			n.refused(n.ask(allSecret, "POST", target, "", "Sec-Fetch-Site", "cross-site"), 403, "cross_origin")
			n.refused(n.ask(allSecret, "POST", target, "", "Origin", "https://evil.example"), 403, "cross_origin")
		}
		if n.srv.Draining() {
			t.Error("the node drains")
		}
		n.ok(n.ask(allSecret, "POST", "/v1/nodes/self/undrain", "", "Sec-Fetch-Site", "same-origin"), nil)
		n.ok(n.ask(readSecret, "GET", "/v1/nodes", "", "Sec-Fetch-Site", "cross-site"), nil)
	})
}

// TestIdempotency: of requests with one key one is done.
func TestIdempotency(t *testing.T) {
	bubble(t, "n1", func(t *testing.T, w *world, nodes []*node) {
		n, ann := nodes[0], nodes[0].login("ann")
		body := `{"all":true,"event":"a"}`
		for i := range 3 {
			w := n.ask(allSecret, "POST", "/v1/publish", body, "Idempotency-Key", "k1")
			n.ok(w, nil)
			if got := w.Header().Get("Idempotency-Replayed"); (got == "true") != (i > 0) {
				t.Errorf("request %d was replayed: %q", i, got)
			}
		}
		n.refused(n.ask(allSecret, "POST", "/v1/publish", `{"all":true,"event":"b"}`, "Idempotency-Key", "k1"), 422, "key_reused")
		n.refused(n.ask(allSecret, "POST", "/v1/batch", body, "Idempotency-Key", "k1"), 422, "key_reused")
		n.ok(n.ask(writeSecret, "POST", "/v1/publish", `{"all":true,"event":"c"}`, "Idempotency-Key", "k1"), nil) // somebody else's
		n.refused(n.ask(allSecret, "POST", "/v1/publish", `{"all":true}`, "Idempotency-Key", "k2"), 400, "invalid")
		n.ok(n.ask(allSecret, "POST", "/v1/publish", `{"all":true,"event":"d"}`, "Idempotency-Key", "k2"), nil) // errors are not kept
		n.refused(n.ask(allSecret, "POST", "/v1/publish", body, "Idempotency-Key", strings.Repeat("k", 256)), 400, "invalid")
		w.settle()
		for range 31 { // more than the window, in all
			w.settle()
		}
		n.ok(n.ask(allSecret, "POST", "/v1/publish", body, "Idempotency-Key", "k1"), nil)
		for _, event := range []string{"a", "c", "d", "a"} {
			ann.Expect(event)
		}
	})
}
