package metrics

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
)

// family is one metric: what HELP says of it, its type, and its labels in the order in which their values are given. A histogram
// has no type of value.
type family struct {
	help   string
	kind   prometheus.ValueType
	labels []string
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

func labels(names ...string) []string { return names }

// families are all metrics, by name.
var families = byName(connectionFamilies, socketFamilies, clusterFamilies, nodeFamilies)

func byName(themes ...map[string]family) map[string]family {
	all := make(map[string]family)
	for _, theme := range themes {
		maps.Copy(all, theme)
	}
	return all
}

// connectionFamilies are of Engine.IO: connections, sessions and their bytes.
var connectionFamilies = map[string]family{
	Connections:        {"Connections now. Closing ones have no session any more and wait for the end of the closing handshake.", gauge, labels("transport", "state")},
	UnjoinedSessions:   {"Connections that have not joined a namespace yet.", gauge, nil},
	MaxConnections:     {"Connections that the node allows.", gauge, nil},
	Handshakes:         {"Requests for a new session, by result.", counter, labels("result")},
	UnknownSessions:    {"Requests of sessions that are not known.", counter, nil},
	Disconnections:     {"Sockets that have disconnected, by reason.", counter, labels("reason")},
	EndedSessions:      {"Sessions that have ended, by reason.", counter, labels("reason")},
	Upgrades:           {"Attempts to move a session to another transport.", counter, labels("result")},
	Packets:            {"Engine.IO packets.", counter, labels("direction")},
	Bytes:              {"Bytes of Engine.IO packets, without HTTP and websocket headers.", counter, labels("direction")},
	OutboxBytes:        {"Bytes that wait for clients to read, shared ones counted once.", gauge, nil},
	InputBytes:         {"Bytes of input that is unfinished or waits for handlers.", gauge, nil},
	StateBytes:         {"Bytes that sessions keep as long as they live.", gauge, nil},
	MaxOutboxBytes:     {"Budget of bytes that wait for clients to read.", gauge, nil},
	MaxInputBytes:      {"Budget of bytes of input.", gauge, nil},
	MaxStateBytes:      {"Budget of bytes that sessions keep.", gauge, nil},
	Drops:              {"Packets that were accepted for sending and not sent, by reason.", counter, labels("reason")},
	LimitHits:          {"How often a bound was hit, by kind.", counter, labels("kind")},
	Tokens:             {"What became of the tokens of clients, by result.", counter, labels("result")},
	ClientLimitHits:    {"How often a limit of what one client, address, network or user may do was hit, by kind.", counter, labels("kind")},
	HeartbeatLateness:  {"By how much heartbeats were late; 10 ms are the resolution.", 0, nil},
	HeartbeatRoundTrip: {"Time from when a heartbeat was due to its answer.", 0, nil},
}

// socketFamilies are of Socket.IO: sockets, rooms, events and their handlers.
var socketFamilies = map[string]family{
	Sockets:        {"Connected sockets now.", gauge, labels("namespace")},
	Rooms:          {"Rooms now, without the sockets' own ones.", gauge, labels("namespace")},
	Namespaces:     {"Namespaces now.", gauge, nil},
	Connecting:     {"Sockets whose middlewares are running.", gauge, nil},
	Connects:       {"CONNECT packets, by result.", counter, labels("namespace", "result")},
	Events:         {"Events of clients whose callbacks have returned, by outcome.", counter, labels("namespace", "outcome")},
	HandlerTime:    {"Time that the callbacks of an event took.", 0, labels("namespace")},
	PendingAcks:    {"Acknowledgements that are waited for.", gauge, nil},
	Recoveries:     {"Clients that came back with the secret of a session, by what came of it.", counter, labels("result")},
	AckTimeouts:    {"Waits for acknowledgements that ended because time ran out.", counter, nil},
	UnknownAcks:    {"Acknowledgements that nobody waited for.", counter, nil},
	Workers:        {"Goroutines that run, or wait in, application code.", gauge, nil},
	Panics:         {"Panics of callbacks, which were contained.", counter, nil},
	Failures:       {"Errors of handlers and event middlewares, and arguments that did not fit.", counter, labels("kind")},
	ParseErrors:    {"Packets that broke the protocol.", counter, nil},
	InboxPauses:    {"Times that reading from a client paused because its inbox was full.", counter, nil},
	Refusals:       {"CONNECT packets, events and joins that hooks have refused.", counter, nil},
	EncodeFailures: {"Packets that could not be encoded.", counter, nil},
}

// clusterFamilies are of the other nodes: who they are, the broker between them, and the directory of users.
var clusterFamilies = map[string]family{
	Members:           {"Nodes of the cluster that are known, this one included.", gauge, labels("state")},
	DrainingMembers:   {"Nodes of the cluster that drain, this one included.", gauge, nil},
	Questions:         {"Questions to other nodes that are not settled.", gauge, nil},
	BrokerUp:          {"Whether the other nodes can be reached through the broker.", gauge, nil},
	BrokerRoundTrip:   {"Time from this node through the broker and back to it.", 0, nil},
	MessageLatency:    {"Time from this node through the broker to another one: half of the time until its answer is here.", 0, nil},
	CanariesLost:      {"Measurements of latency that did not come back in time.", counter, labels("path")},
	BrokerSent:        {"Messages and commands that the broker has taken.", counter, nil},
	BrokerReceived:    {"Messages that the broker has brought.", counter, nil},
	BrokerErrors:      {"Messages and commands that the broker has refused, or may not have taken, by kind of error.", counter, labels("kind")},
	BrokerDrops:       {"Messages that were not sent to the broker, or not kept when they came, by reason.", counter, labels("reason")},
	BrokerQueue:       {"Messages and commands that wait for the broker.", gauge, nil},
	BrokerQueueBytes:  {"Bytes that wait for the broker.", gauge, nil},
	Reconnects:        {"Connections to the broker that were made anew.", counter, nil},
	Resubscriptions:   {"Subscriptions at the broker that were lost and asked for again.", counter, nil},
	LogBreaks:         {"Times that something was missing in the broker's log: clients that were away then start anew.", counter, nil},
	ServerSideDrops:   {"Events of other nodes that were dropped because their handlers were too slow.", counter, nil},
	OrderWaits:        {"Messages of other nodes that waited for one that was sent before.", counter, nil},
	OrderTimeouts:     {"Waits for a message of another node that were given up.", counter, nil},
	OrderSkips:        {"Messages to this node alone that never came.", counter, nil},
	Forwarded:         {"Requests whose session is on another node, by result.", counter, labels("result")},
	ForwardRefusals:   {"Requests that the private listener has refused, by reason.", counter, labels("reason")},
	Relays:            {"Websockets that are relayed to other nodes now.", gauge, nil},
	Handovers:         {"Young sessions that have moved between nodes.", counter, labels("direction")},
	DirectoryUsers:    {"Users in the care of this node now; pending ones are not stored yet.", gauge, labels("state")},
	DirectoryCached:   {"Users of other nodes in the cache now.", gauge, nil},
	DirectoryStoreUp:  {"Whether the store of the directory answers.", gauge, nil},
	DirectoryMixed:    {"Whether there may be nodes that keep no directory.", gauge, nil},
	DirectoryMessages: {"Messages to users, by way.", counter, labels("way")},
	DirectoryLookups:  {"Questions where a user is, by who knew.", counter, labels("result")},
	DirectoryErrors:   {"Calls of the store of the directory that failed.", counter, nil},
	DirectorySweeps:   {"Lives of other nodes whose entries this node has swept.", counter, nil},
}

// nodeFamilies are of this node as a whole.
var nodeFamilies = map[string]family{
	Draining:  {"Whether this node drains.", gauge, nil},
	Drained:   {"Connections that drains, rebalancings and Shed have closed.", counter, nil},
	DrainCuts: {"Connections that were cut off at the end of a drain.", counter, nil},
	BuildInfo: {"What this program was built from.", gauge, labels("version", "revision", "go")},
	NodeInfo:  {"Who this node is to the others.", gauge, labels("node", "id", "adapter")},
}

// descs are the families as Prometheus wants them.
var descs = func() map[string]*prometheus.Desc {
	all := make(map[string]*prometheus.Desc, len(families))
	for name, f := range families {
		all[name] = prometheus.NewDesc(name, f.help, f.labels, nil)
	}
	return all
}()
