package lane

import (
	"context"
	"errors"
	"sync"
)

// errBusy is the error of DoParts on a lane with pending replies.
var errBusy = errors.New("replies to other commands are due")

// DoParts is Do for a reply that may be large, on a lane with a single caller and no pending reply. It passes the raw
// bytes of a large reply to part as they arrive, including the last ones. Each slice is valid during the call. It
// then returns only the end of the frame. A small reply is returned whole, without a call of part. The reader's
// goroutine calls part, never after DoParts has returned. After an error the caller must give the lane up.
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
	over := false // DoParts has returned
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
		return nil, err // pending bytes are dropped
	}
	l.in.parts.CompareAndSwap(&fn, nil)
	frame := q.frame
	l.recycle(q)
	return frame, nil
}
