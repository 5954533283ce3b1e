//go:build !unix

package httpserve

// descriptorLimit is 0: there is no such limit here.
func descriptorLimit() uint64 { return 0 }
