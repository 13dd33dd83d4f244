package observe

import (
	"slices"
	"sync"
	"time"
)

const (
	// BigReplies is how many commands a BigList keeps.
	BigReplies = 128
	// LeastBig is the size of the smallest reply that a BigList keeps, in bytes.
	LeastBig = 32 << 10
)

// BigReply is a command with large replies.
type BigReply struct {
	Command string // with its keys
	Largest int    // bytes of the largest reply
	Count   uint64 // replies of at least LeastBig
	Bytes   uint64 // of those replies
	Last    time.Time
}

// BigList keeps the commands with the largest replies. The zero value is empty. All methods are safe for concurrent use.
type BigList struct {
	mu   sync.Mutex
	list []*BigReply // the largest first
}

// Observe notes a reply of at least LeastBig. name is the command.
func (l *BigList) Observe(size int, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.list, func(b *BigReply) bool { return b.Command == name })
	switch {
	case i >= 0:
	case len(l.list) < BigReplies:
		i = len(l.list)
		l.list = append(l.list, &BigReply{Command: name})
	case l.list[BigReplies-1].Largest >= size:
		return
	default:
		i = BigReplies - 1
		l.list[i] = &BigReply{Command: name}
	}
	b := l.list[i]
	b.Largest, b.Last = max(b.Largest, size), time.Now()
	b.Count++
	b.Bytes += uint64(size)
	for ; i > 0 && l.list[i-1].Largest < b.Largest; i-- {
		l.list[i-1], l.list[i] = l.list[i], l.list[i-1]
	}
}

// Top returns up to n commands, those with the largest replies first.
func (l *BigList) Top(n int) (list []BigReply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.list[:min(n, len(l.list))] {
		list = append(list, *b)
	}
	return list
}

// Reset drops all entries.
func (l *BigList) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}
