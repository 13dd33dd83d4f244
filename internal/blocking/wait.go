package blocking

import "time"

// Wait is one blocking command that waits. Its methods are in waits.go.
type Wait struct {
	waits *Waits // nil in tests of the core
	done  func(Result)
	form  *Form
	links []link // one for each distinct key, in the command's order
	one   [1]link
	try   *attempt

	identity any
	seq      uint64 // order of arrival
	began    int64
	deadline int64 // 0: none
	heapAt   int32 // index in the heap plus 1; 0: not in it
	db       int32

	resp3    bool
	first    bool // the server has not replied to its first attempt yet
	leaving  bool // it ends with leave unless the attempt in flight finds data
	late     bool // leaving, because its timeout has passed before the end of its first attempt
	finished bool
	reason   reason
	leave    *Result
}

// link is a wait's place in the queue of one key.
type link struct {
	prev, next *link
	w          *Wait
	q          *queue
	seen       uint64 // of XREAD: the version of the queue at the last attempt
}

// family is the type of value that a queue waits for. Waits of one family contend for the same data.
type family uint8

const (
	lists family = iota
	zsets
	reads  // XREAD: they do not contend
	groups // XREADGROUP: those of one group contend
)

func (f *Form) family() family {
	switch f.kind {
	case zsetPop, zsetMPop:
		return zsets
	case read:
		return reads
	case groupRead:
		return groups
	}
	return lists
}

// name is a key in all databases, since servers report changes without the database.
type name struct {
	key     string
	watched bool
	queues  []*queue
}

// queue holds the waits of one family on one key of one database, in order of arrival.
//
// A queue is dirty if its key may have data for the first wait: version is above clean. An attempt that finds no data
// raises clean to the version of its start.
type queue struct {
	name    *name
	group   string // of XREADGROUP
	db      int32
	family  family
	ready   bool
	wrong   bool // the key had another type at the last attempt
	stalled bool // in the list of a busy identity

	head, tail     *link
	version, clean uint64

	n          int32   // waits
	trying     int32   // attempts in flight on this key
	window     int32   // limit of trying
	lead       *Wait   // of one of them
	firsts     []*Wait // have this queue as their first, and no reply to their first attempt
	dependents []*queue
	nextReady  *queue
}

func (q *queue) dirty() bool { return q.version > q.clean }

func (q *queue) isWrong() bool { return q.wrong }

func (q *queue) push(l *link) {
	l.q, l.prev = q, q.tail
	if q.tail == nil {
		q.head = l
	} else {
		q.tail.next = l
	}
	q.tail = l
	q.n++
}

func (q *queue) remove(l *link) {
	if l.prev == nil {
		q.head = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		q.tail = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.prev, l.next = nil, nil
	q.n--
}

// linkTo returns the wait's place in q.
func (w *Wait) linkTo(q *queue) *link {
	for i := range w.links {
		if w.links[i].q == q {
			return &w.links[i]
		}
	}
	return nil
}

// sameClass reports whether a reply for v may serve w without conversion.
func (w *Wait) sameClass(v *Wait) bool {
	return w == v || w.identity == v.identity && w.db == v.db && w.resp3 == v.resp3 && w.form.same(v.form)
}

// purpose is what an attempt does.
type purpose uint8

const (
	fetch      purpose = iota // takes data for waits
	resolve                   // finds the ID for $
	probe                     // finds out whether a key has data, after an attempt that met a wrong type
	giveBackIt                // returns elements that nobody took
)

// attempt is one command in flight. A fetch covers one or more waits of one class.
type attempt struct {
	purpose  purpose
	lead     *Wait
	waits    []*Wait
	queues   []*queue // locked by the attempt; for commands that take elements, those of keys, in order
	versions []uint64 // of the queues at the start
	keys     [][]byte // that the command in flight covers, out of those of queues
	step     int      // index of keys[0] in queues, if the attempt tries one key after the other
	stepwise bool
	first    bool // the first attempt of the lead
	n        int  // number of waits that the command may serve
	seq      uint64
	idAt     int    // resolve: the index of the ID in the form's arguments
	saved    []byte // the error that ends the waits if a key has data
	confirms bool   // a key has data: the command in flight finds out whether another still has the wrong type
	key      []byte // giveBackIt
	elements int    // giveBackIt
	locked   bool
	identity any // of busy
	args     [][]byte

	out        Attempt // for the Sender
	oneWait    [1]*Wait
	oneQueue   [1]*queue
	oneVersion [1]uint64
}

// reason is why a wait ended.
type reason uint8

const (
	failedReason reason = iota
	servedReason
	timeoutReason
	cancelReason
)

// park delays the attempts of one identity after failures.
type park struct {
	until   int64
	fails   int
	stalled []*queue
}

const (
	maxRun       = 256 // waits that one command serves
	maxWindow    = 64  // attempts in flight on one key
	firstPark    = int64(5 * time.Millisecond)
	longestPark  = int64(2 * time.Second)
	forgetPark   = int64(time.Minute)
	defaultGrace = time.Second
)
