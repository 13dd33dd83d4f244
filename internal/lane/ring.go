package lane

// place is a request in the queue with the counts that the reader updates. The reader need not touch the request
// itself, which is in another processor's cache.
type place struct {
	q     *request
	want  int // pending replies
	bytes int // its bytes of the window
}

// ring is the queue of requests with pending replies, in the order of their bytes. It grows by doubling and never
// shrinks: the lane's window limits its size.
type ring struct {
	buf  []place // length a power of two
	head int
	n    int
}

func (r *ring) push(p place) {
	if r.n == len(r.buf) {
		r.grow()
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = p
	r.n++
}

// front returns the first place, valid until the next call, or nil.
func (r *ring) front() *place {
	if r.n == 0 {
		return nil
	}
	return &r.buf[r.head]
}

func (r *ring) at(i int) *request { return r.buf[(r.head+i)&(len(r.buf)-1)].q }

func (r *ring) pop() {
	r.buf[r.head] = place{}
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
}

// back returns the last place. The ring must not be empty.
func (r *ring) back() place { return r.buf[(r.head+r.n-1)&(len(r.buf)-1)] }

func (r *ring) popBack() {
	r.n--
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = place{}
}

func (r *ring) grow() {
	bigger := make([]place, max(16, 2*len(r.buf)))
	for i := range r.n {
		bigger[i] = r.buf[(r.head+i)&(len(r.buf)-1)]
	}
	r.buf, r.head = bigger, 0
}
