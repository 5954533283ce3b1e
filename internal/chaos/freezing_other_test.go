//go:build !unix

package chaos

// freeze needs signals.
func (n *node) freeze() { n.t.Fatal("a process can be frozen on Unix only") }

// thaw undoes freeze.
func (n *node) thaw() {}
