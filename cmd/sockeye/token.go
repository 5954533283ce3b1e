package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/server/auth"
)

// tokenCommand holds the flags of `sockeye token`, which makes a JSON Web Token for tests and demonstrations.
type tokenCommand struct {
	JWTKey   string        `name:"jwt-key" required:"" type:"existingfile" placeholder:"FILE" help:"Key that signs: PEM with a private key, a JWK set with one, or else an HMAC secret of 32 bytes at least."`
	User     string        `required:"" placeholder:"NAME" help:"Subject of the token: who is let in with it."`
	TTL      time.Duration `name:"ttl" default:"1h" help:"Time until the token expires."`
	Audience string        `placeholder:"NAME" help:"Whom the token is for; none by default."`
	Issuer   string        `placeholder:"NAME" help:"Who issues the token; none by default."`
}

// Validate refuses what no node would take. It is called by the flag parser.
func (c *tokenCommand) Validate() error {
	if c.TTL < time.Second {
		return fmt.Errorf("--ttl must be 1s at least, got %v", c.TTL)
	}
	if err := checkSubject(c.User); err != nil {
		return fmt.Errorf("--user: %w", err)
	}
	return nil
}

// Run prints the token.
func (c *tokenCommand) Run(out *streams) error {
	keys, err := auth.ReadKeys(c.JWTKey)
	if err == nil && !keys.CanSign() {
		err = errors.New("the key is a public one, which signs nothing")
	}
	if err != nil {
		return usageError{fmt.Errorf("--jwt-key: %w", err)}
	}
	token, _, err := keys.Sign(auth.Grant{Subject: c.User, TTL: c.TTL, Audience: c.Audience, Issuer: c.Issuer})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out.stdout, token)
	return err
}
