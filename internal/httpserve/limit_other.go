//go:build !unix

package httpserve

// DescriptorLimit is 0: there is no such limit here.
func DescriptorLimit() uint64 { return 0 }
