// Package api is the control API: what programs and operators ask of a cluster over HTTP, with any node of it.
//
//	control, err := api.New(srv, &api.Options{
//		Directory: dir,
//		Tokens:    []api.Token{{Name: "billing", Secret: secret, Scope: api.ScopeWrite}},
//	})
//	http.Handle("/v1/", control)
//
// It publishes events, disconnects sockets, has them join and leave rooms, counts, tells who is present and where. What it takes and
// answers is described by the OpenAPI document that it serves at /v1/openapi.yaml. It belongs on a private address.
//
// Each request needs a credential: a bearer token, a client certificate that the TLS server has verified, or whatever
// Options.Authorize accepts. Without any, New refuses.
//
// What is said of the cluster is what the nodes that were heard have answered: an answer that lacks some has "partial": true and
// names them. That is no error. What is sent while the broker is away reaches the sockets of this node, and is "partial" too.
//
// # Goroutines
//
// A request runs on the goroutine of net/http. An [Agent], the part that other nodes ask, has one while it drains its node.
// A trace has one that renews its leases. A watch, its part on each node, has a timer for its lease, and one while something is gathered.
//
// # Where do I change X
//
//   - options, routes: api.go; who may do what: authorize.go; bodies, answers, errors: answer.go
//   - whom a request selects: selection.go; publishing: publish.go, binary.go; other commands: command.go; tokens of clients: revoke.go; many at once: batch.go
//   - requests that are repeated: idempotency.go
//   - nodes, namespaces: nodes.go; numbers: count.go; users and sockets: presence.go
//   - draining and making even: drain.go
//   - what nodes ask each other: agent.go
//   - traces: trace.go, what is asked for; watch.go, what each node sees
//   - the document: openapi.yaml, which a test holds to the code
package api
