package main

import (
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sockeye-io/sockeye/server"
)

// trustedProxies is the flag of that name: prefixes and addresses, separated by commas.
type trustedProxies server.TrustedProxies

// Decode adds what one occurrence of the flag lists. It is called by the flag parser.
func (p *trustedProxies) Decode(ctx *kong.DecodeContext) error {
	var list string
	if err := ctx.Scan.PopValueInto("prefix", &list); err != nil {
		return err
	}
	proxies, err := server.ParseTrustedProxies(strings.Split(list, ",")...)
	*p = append(*p, proxies...)
	return err
}
