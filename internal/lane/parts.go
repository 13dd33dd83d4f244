package lane

import (
	"context"
	"errors"
	"sync"
)

// errBusy refuses parts on a lane that is shared.
var errBusy = errors.New("replies to other commands are due")

// DoParts is Do for a reply that may be large, on a lane that its caller has
// for itself: nothing else may be due. The raw bytes of a large reply are handed
// to part as they come, the last ones too, each valid during the call, and
// are not gathered; what DoParts returns then is the end of the frame. A small reply is returned whole
// and part is not called. It is called by whoever reads, and never again once DoParts has
// returned. After an error the lane has to be given up.
func (l *Lane) DoParts(ctx context.Context, args []any, opt Options, part func(b []byte)) ([]byte, error) {
	if err := l.enter(ctx, &opt, load{replies: 1}, args); err != nil {
		return nil, err
	}
	if l.queue.n > 0 {
		l.grantLocked()
		l.unlockDrained()
		return nil, l.failure("write", false, errBusy)
	}
	size, err := l.encodeLocked(args)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	over := false // the caller is gone
	fn := func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			part(b)
		}
	}
	l.in.parts.Store(&fn)
	q := l.newRequest()
	flush, read, company := l.enqueueLocked(ctx, q, 1, size, &opt)
	l.mu.Unlock()
	err = l.await(ctx, q, flush, read, company)
	mu.Lock()
	over = true
	mu.Unlock()
	if err != nil {
		return nil, err // what is still due goes nowhere
	}
	l.in.parts.CompareAndSwap(&fn, nil)
	frame := q.frame
	l.recycle(q)
	return frame, nil
}
