// Package metrics tells Prometheus how a server is doing. It stands on the public API, as a program of your own could.
//
// A [Metrics] is a prometheus.Collector over one server, and over its directory of users, its forwarder and its limits if they are
// watched. Gauges, and counters that the server keeps anyway, are read when Prometheus asks, so that they cannot drift from what there
// is; a scrape costs the same however many sockets there are. The names are constants, for dashboards and rules.
//
// The values of labels are bounded: the label "namespace" has those that are seen first, at most [Options.MaxNamespaces], "other" for the
// rest, and the pattern of the parent for namespaces that clients name. No label has a room, a user, an event or an address.
//
// # Where do I change X
//
//   - names and labels: names.go; texts and types: families.go
//   - what is read from where: collect.go
//   - events and the time of handlers, the label "namespace": namespaces.go
//   - the page: handler.go; what is watched: metrics.go
package metrics
