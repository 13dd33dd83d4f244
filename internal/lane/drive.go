package lane

// Driver reads lanes on a loop of its own, in place of their background readers: whoever waits
// for many sockets anyway need not wake another goroutine for each reply.
type Driver interface {
	// Take gives the driver the read half: it calls Ready whenever the socket fd can be read,
	// until it calls Release. It is called with the lane's lock held, by any goroutine, and
	// must neither block nor call the lane.
	Take(l *Lane, fd int)
	// Drop asks for Release, soon and on the driver's loop: the lane is dead. It is called as Take is.
	Drop(l *Lane)
}

// Drive hands the read half to d once who reads now has done so. It reports
// whether that can be: on plain sockets, of lanes that live and have no driver.
func (l *Lane) Drive(d Driver) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil || l.driver != nil || !l.conn.CanTry() {
		return false
	}
	l.driver = d
	switch l.reading {
	case nobody:
		l.giveLocked()
	case background:
		l.interruptReaderLocked()
	}
	return true
}

// giveLocked gives the read half to the driver, or else to the background reader.
func (l *Lane) giveLocked() {
	if l.driver != nil && l.dead == nil {
		l.reading = driven
		l.driver.Take(l, l.conn.Descriptor())
		return
	}
	l.reading = background
	l.wakeReader()
}

// Ready reads what is there and hands it out. It belongs to the driver's loop.
func (l *Lane) Ready() {
	n, err := l.in.fill(l.conn, tryOnce)
	l.take(n, err)
	l.mu.Lock()
	l.resumeLocked()
	l.unlockDrained()
}

// Release gives the read half back. It belongs to the driver's loop.
func (l *Lane) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.driver = nil
	if l.reading == driven {
		l.giveLocked()
	}
}
