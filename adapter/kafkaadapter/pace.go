package kafkaadapter

import "time"

const (
	// gatherTime is the time between two handings-over to the client when they follow one another, and fetchTime that between two
	// takings of what it has fetched: a request costs a hundred times what a record does.
	gatherTime = 2 * time.Millisecond
	fetchTime  = time.Millisecond
	// atOnce is how many may follow one another without a pause.
	atOnce = 16
)

// pace spreads what is done again and again: once in a gap in the long run, sixteen times at once. As long as it is done less often,
// nothing waits.
type pace struct {
	gap  time.Duration
	next time.Time // when the next one would be due if all before it had kept to gap
}

// wait returns for how long nothing is to be done.
func (p *pace) wait(now time.Time) time.Duration {
	return p.next.Add(-atOnce * p.gap).Sub(now)
}

// spend notes that something was done.
func (p *pace) spend(now time.Time) {
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(p.gap)
}
