package lane

// Driver reads lanes on its own event loop, in place of their background readers. A loop that already waits for many
// sockets need not wake another goroutine for each reply.
type Driver interface {
	// Take hands the read half over to the driver, which calls Ready whenever the socket fd is readable, until it
	// calls Release. Any goroutine may call Take, with the lane's lock held. Take must neither block nor call the
	// lane.
	Take(l *Lane, fd int)
	// Drop requests a Release on the driver's loop, soon: the lane has failed. The rules of Take apply.
	Drop(l *Lane)
	// Number distinguishes the drivers of a program. It is 1 or more.
	Number() int
}

// Drive hands the read half to d when the current reader is done. It returns false for connections that are not plain
// sockets, for failed lanes, and for lanes with a driver.
func (l *Lane) Drive(d Driver) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil || l.driver != nil {
		return false
	}
	l.home.CompareAndSwap(0, int32(d.Number()))
	if !l.conn.CanTry() {
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

// Home returns the number of the first driver that called Drive, also if it cannot read the lane; 0: none has. It is a
// hint that takes no lock.
func (l *Lane) Home() int { return int(l.home.Load()) }

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

// Ready reads once without waiting and distributes the replies. Only the driver's loop calls it.
func (l *Lane) Ready() {
	n, err := l.in.fill(l.conn, tryOnce)
	l.take(n, err)
	l.mu.Lock()
	l.resumeLocked()
	l.unlockDrained()
}

// Release returns the read half. Only the driver's loop calls it.
func (l *Lane) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.driver = nil
	l.home.Store(0)
	if l.reading == driven {
		l.giveLocked()
	}
}
