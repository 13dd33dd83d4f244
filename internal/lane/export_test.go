package lane

// ProofEvery is for tests of the proof.
const ProofEvery = proofEvery

// LoneWaiting is how many lone commands wait for their turn.
func (l *Lane) LoneWaiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alone.waiting.Len()
}

// WindowWaiting is how many callers wait for room in the window.
func (l *Lane) WindowWaiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.window.waiting.Len()
}
