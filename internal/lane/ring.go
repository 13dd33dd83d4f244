package lane

// ring is the queue of requests whose replies are due, in the order of their
// bytes. It grows by doubling and never shrinks: its size is bounded by the
// lane's window.
type ring struct {
	buf  []*request // length a power of two
	head int
	n    int
}

func (r *ring) push(q *request) {
	if r.n == len(r.buf) {
		r.grow()
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = q
	r.n++
}

func (r *ring) front() *request {
	if r.n == 0 {
		return nil
	}
	return r.buf[r.head]
}

func (r *ring) at(i int) *request { return r.buf[(r.head+i)&(len(r.buf)-1)] }

func (r *ring) pop() {
	r.buf[r.head] = nil
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
}

func (r *ring) grow() {
	bigger := make([]*request, max(16, 2*len(r.buf)))
	for i := range r.n {
		bigger[i] = r.at(i)
	}
	r.buf, r.head = bigger, 0
}
