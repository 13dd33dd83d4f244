package lane

import (
	"slices"
	"sync/atomic"
)

// LeastLoan is the size in bytes from which PostLoan costs less than the copy of Post.
const LeastLoan = 64 << 10

// Loan is the memory of a large request that a lane writes without a copy. The bytes must not change until both the
// lender and the lane have returned the loan. All methods are safe for concurrent use.
type Loan struct {
	raw  []byte
	free func(raw []byte)
	uses atomic.Int32
}

// NewLoan returns a loan of raw. The last Return calls free, from any goroutine and perhaps with locks of the lane
// held. free may not be called if the lane fails: the garbage collector then frees the memory.
func NewLoan(raw []byte, free func(raw []byte)) *Loan {
	l := &Loan{raw: raw, free: free}
	l.uses.Store(1)
	return l
}

// Bytes returns the request. It must not be changed.
func (l *Loan) Bytes() []byte { return l.raw }

// Return ends one use of the memory. The lender calls it once.
func (l *Loan) Return() {
	if l.uses.Add(-1) == 0 {
		l.free(l.raw)
	}
}

// loans are the loans of an outbox that no flush has taken, and the one that a flush writes. Lane.mu guards them. They
// are not part of the outbox, whose fields each command uses.
type loans struct {
	list    []lent
	writing *Loan
}

// lent is a loan and its place: the number of bytes in outbox.buf before it.
type lent struct {
	at   int
	loan *Loan
}

// PostLoan is Post for a large request whose memory the lane uses until it has written it. If it returns an error, the
// lane does not use the memory.
func (l *Lane) PostLoan(loan *Loan, n int, sink Sink, tag uint64, opt Options) error {
	l.mu.Lock()
	if err := l.enterPostLocked(&opt); err != nil {
		return err
	}
	loan.uses.Add(1)
	l.loans.list = append(l.loans.list, lent{len(l.out.buf), loan})
	l.out.lends = true
	l.queuePostLocked(sink, tag, n, len(loan.raw), &opt)
	l.mu.Unlock()
	return nil
}

// takeLentLocked takes the bytes before the first loan, or that loan.
func (l *Lane) takeLentLocked() []byte {
	o, list := &l.out, l.loans.list
	if at := list[0].at; at > 0 {
		out := o.buf[:at]
		o.buf, o.spare = append(o.spare, o.buf[at:]...), nil
		for i := range list {
			list[i].at -= at
		}
		return out
	}
	l.loans.writing = list[0].loan
	l.loans.list = slices.Delete(list, 0, 1)
	o.lends, o.lent = len(list) > 1, true
	return l.loans.writing.raw
}

// writtenLocked reuses the memory of written bytes.
func (l *Lane) writtenLocked(out []byte) {
	if l.out.lent {
		l.returnWrittenLocked()
	} else {
		l.out.reuse(out)
	}
}

func (l *Lane) returnWrittenLocked() {
	l.loans.writing.Return()
	l.loans.writing, l.out.lent = nil, false
}

// dropLoansLocked returns the loans that no flush has taken. It returns their bytes.
func (l *Lane) dropLoansLocked() (bytes int) {
	for _, x := range l.loans.list {
		bytes += len(x.loan.raw)
		x.loan.Return()
	}
	l.loans.list, l.out.lends = nil, false
	return bytes
}
