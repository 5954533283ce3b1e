package chaos

import "github.com/sockeye-io/sockeye/internal/freeze"

// freeze stops the process without closing anything. It returns when nothing of it runs.
func (n *node) freeze() {
	n.t.Helper()
	if err := freeze.Stop(n.cmd.Process); err != nil {
		n.t.Fatalf("node %s: %v", n.name, err)
	}
}

// thaw undoes freeze.
func (n *node) thaw() {
	n.t.Helper()
	if err := freeze.Continue(n.cmd.Process); err != nil {
		n.t.Fatalf("node %s: %v", n.name, err)
	}
}
