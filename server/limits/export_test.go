package limits

// Users returns how many users are known.
func (l *Limits) Users() (n int) {
	for i := range l.users.shards {
		s := &l.users.shards[i]
		s.mu.Lock()
		n += len(s.users)
		s.mu.Unlock()
	}
	return n
}

// Owned returns how many users have connections that are counted for them.
func (l *Limits) Owned() int { return l.owned.len() }
