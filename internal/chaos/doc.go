// Package chaos holds the tests of whole clusters in trouble: three nodes, each a process of its own, on one real Redis,
// with clients on the wire. Nodes are killed, frozen, drained and cut off, Redis is killed, paused, emptied and loses its subscribers.
//
// All the while every user sends numbered messages to every other one, and each is accounted for: none arrives twice or
// out of order, none between users of one node is lost whatever Redis does, and one between nodes is only lost when it was
// on its way while something was broken. What a test measures it logs.
//
// The short forms run with all other tests. The long form is an operator who breaks something at random all the time; the
// seed of what it does is printed, and a flag repeats it:
//
//	go test ./internal/chaos -run TestOperator -v -minutes 10 -timeout 60m
//	go test ./internal/chaos -run TestOperator -v -minutes 10 -timeout 60m -seed 42
//
// With -minutes TestTwoVersions builds nodes of a former Sockeye from the history of the repository, and upgrades a cluster of
// them node by node.
//
// With -reference one of the three nodes of each cluster in TestOperator, and in TestAcksOnCluster, is Node.js with the npm packages
// (compat-tests/reference/chaos.mjs).
//
// # Where do I change X
//
//   - what a node does, in its process: node_test.go, requests_test.go; what only nodes of this version know: identity_test.go
//   - nodes of a former version: former_test.go; the commit: formerCommit there; what they lack: testdata/former
//   - starting, asking and ending such processes: process_test.go
//   - three of them with Redis and users: cluster_test.go
//   - a client: user_test.go; the account of all messages: traffic_test.go
//   - the troubles: kill_test.go, drain_test.go, freeze_test.go, link_test.go, redis_test.go, operator_test.go
//   - the directory of users in trouble: directory_test.go
//   - an upgrade: versions_test.go; acknowledgements on a Redis Cluster: acks_test.go
package chaos
