package pool

// Refusals is how many refusals the pool remembers.
func (p *Pool) Refusals() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refusals.all)
}
