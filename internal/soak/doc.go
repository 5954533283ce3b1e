// Package soak holds the tests that look at a whole server over time: what is left after many sessions have ended in
// every possible way, what frozen and hostile clients cost the others, and whether order holds under load.
//
// Each test has a short form that runs with all others, and a long form that flags ask for:
//
//	go test ./internal/soak -run TestChurnOverTCP -sessions 200000 -waves 10 -timeout 60m -v
//	go test ./internal/soak -run TestFrozenClients -clients 10000 -processes 4 -timeout 30m -v
//	go test ./internal/soak -run 'TestHostileClients|TestInputBudget' -attackers 100 -timeout 30m -v
//
// With -profiles the long form of the churn test writes a heap profile after each wave.
//
// The long forms need 30,000 file descriptors for ten thousand clients of one process, less with -processes.
package soak
