package auth

// Counts are what a table of live sessions has seen since it was made.
type Counts struct {
	Sessions int    // in memory now, ended ones among them
	Streams  int    // that wait for news of their session now
	Touches  uint64 // uses of sessions that were noted
	Written  uint64 // records written for them: the rest was saved
}

// Counts adds up what the shards have counted. Counting costs a request no more
// than it costs anyway: its shard is locked then.
func (l *Live) Counts() (c Counts) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		c.Sessions += len(s.index)
		c.Touches += s.used
		s.mu.Unlock()
	}
	c.Written = l.written.Load()
	l.watchers.mu.Lock()
	defer l.watchers.mu.Unlock()
	for _, of := range l.watchers.of {
		c.Streams += len(of)
	}
	return c
}
