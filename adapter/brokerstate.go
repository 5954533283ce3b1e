package adapter

// BrokerState says whether the cluster can be reached through its broker.
type BrokerState uint8

// States of the way to a broker.
const (
	// BrokerStarting: no namespace is open, or the broker has neither answered nor failed to answer yet.
	BrokerStarting BrokerState = iota
	// BrokerUp: messages go to other nodes and come from them.
	BrokerUp
	// BrokerDown: they do not, or the broker has refused some. Local delivery goes on, messages for other nodes wait as far as the
	// adapter keeps them, and questions fail at once.
	BrokerDown
)

// Worse reports whether a server in this state is worse off than one in another.
func (s BrokerState) Worse(than BrokerState) bool {
	return s == BrokerDown && than != BrokerDown || s == BrokerStarting && than == BrokerUp
}

func (s BrokerState) String() string {
	switch s {
	case BrokerUp:
		return "up"
	case BrokerDown:
		return "down"
	default:
		return "starting"
	}
}
