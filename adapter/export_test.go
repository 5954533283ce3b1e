package adapter

import "context"

// LookForStrangers returns what looks for nodes that write nothing into a log, beside an adapter of a Join's cluster.
func LookForStrangers(a Adapter, log ExclusiveLog) func(ctx context.Context) error {
	s := new(strangers)
	s.begin(a.(*clustered), log)
	return s.none
}
