package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// topicsHandover moves the clients with subscriptions, in batches. For each batch the other process subscribes to all topics.
// Then a message on a channel that both processes have subscribed to, the mark, divides the messages: a server sends all
// subscribers the messages in one order. One goroutine does that, moveSubscribers.
type topicsHandover struct {
	ctx    context.Context // ends with end
	end    context.CancelFunc
	fresh  chan struct{} // capacity 1: there is a client
	marked chan uint64   // the batch of a mark that has come; 0: marks may be lost

	mu      sync.Mutex // taken under the lock of a hub
	clients []*gateway.Subscriber
	replies map[uint64]chan string // by number, of the messages without a reply
	cutting map[uint64][]*gateway.Subscriber
	useless bool // subscribers stay
}

func (t *topicsHandover) init() {
	t.ctx, t.end = context.WithCancel(context.Background())
	t.fresh, t.marked = make(chan struct{}, 1), make(chan uint64, 1)
	t.replies, t.cutting = map[uint64]chan string{}, map[uint64][]*gateway.Subscriber{}
}

// leastForSubscribers is the least number of connections with which subscribers move: both processes need one for the
// subscriptions and one for everything else.
const leastForSubscribers = 4

// Subscriber takes a client with subscriptions. It is called while locks are held.
func (h *handover) Subscriber(s *gateway.Subscriber) bool {
	t := &h.topics
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.useless || t.ctx.Err() != nil || h.most < leastForSubscribers {
		return false
	}
	t.clients = append(t.clients, s)
	select {
	case t.fresh <- struct{}{}:
	default:
	}
	return true
}

// prepared receives a reply of the other process.
func (t *topicsHandover) prepared(m takeover.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if reply := t.replies[m.Number]; reply != nil {
		delete(t.replies, m.Number)
		reply <- m.Text // it has room
	}
}

// expect returns the channel of the reply with a number.
func (t *topicsHandover) expect(number uint64) <-chan string {
	reply := make(chan string, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replies[number] = reply
	return reply
}

// came notes a mark. It is called where messages are delivered.
func (t *topicsHandover) came(payload string) {
	if batch, err := strconv.ParseUint(payload, 10, 64); err == nil {
		t.cut(batch)
	}
}

// cut divides the messages of a batch, or of all with 0.
func (t *topicsHandover) cut(batch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, list := range t.cutting {
		if batch != 0 && n != batch {
			continue
		}
		for _, s := range list {
			s.Cut()
		}
		delete(t.cutting, n)
		select {
		case t.marked <- n:
		default:
		}
	}
}

// moveSubscribers prepares clients with subscriptions until the takeover ends.
func (h *handover) moveSubscribers() {
	t := &h.topics
	defer t.end()
	stop := func() {}
	defer func() { stop() }()
	channel := ""
	for batch := uint64(1); ; batch++ {
		select {
		case <-t.fresh:
		case <-t.ctx.Done():
			return
		}
		t.mu.Lock()
		clients := t.clients
		t.clients = nil
		t.mu.Unlock()
		if channel == "" {
			channel = "respool:takeover:" + rand.Text()
			end, err := h.startMarks(channel)
			if err != nil {
				h.keepSubscribers(clients, err)
				return
			}
			stop = end
		}
		if err := h.moveBatch(batch, channel, clients); err != nil {
			return // the takeover ends
		}
	}
}

// startMarks subscribes both processes to the channel of the marks.
func (h *handover) startMarks(channel string) (stop func(), err error) {
	t := &h.topics
	stop, err = h.srv.gateway.Marks(t.ctx, channel, t.came, func() { t.cut(0) })
	if err != nil {
		return nil, err
	}
	reply := t.expect(0)
	if err = h.with.channel.Send(takeover.Message{Kind: takeover.Mark, Text: channel}); err == nil {
		err = t.await(reply)
	}
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// refused is the reason why the other process cannot take a client.
type refused string

func (r refused) Error() string { return string(r) }

// await waits for a reply.
func (t *topicsHandover) await(reply <-chan string) error {
	select {
	case text := <-reply:
		if text != "" {
			return refused(text)
		}
		return nil
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
}

// keepSubscribers makes all clients with subscriptions stay.
func (h *handover) keepSubscribers(clients []*gateway.Subscriber, err error) {
	t := &h.topics
	t.mu.Lock()
	t.useless = true
	clients = append(clients, t.clients...)
	t.clients = nil
	t.mu.Unlock()
	if t.ctx.Err() == nil {
		h.srv.log.Warn("clients with subscriptions stay until the end of the drain", "clients", len(clients), "error", err)
	}
	for _, s := range clients {
		s.Stay()
	}
}

// moveBatch has the other process subscribe for clients, and divides their messages. The clients move after that.
func (h *handover) moveBatch(batch uint64, channel string, clients []*gateway.Subscriber) error {
	t := &h.topics
	replies := make([]<-chan string, len(clients))
	for i, s := range clients {
		h.mu.Lock()
		h.next++
		number := h.next
		h.mu.Unlock()
		s.Number = number
		replies[i] = t.expect(number)
		err := h.with.channel.Send(takeover.Message{Kind: takeover.Prepare, Number: number, Batch: batch, Topics: s.Topics, Proto: s.Proto})
		if errors.Is(err, takeover.ErrTooLarge) {
			t.prepared(takeover.Message{Number: number, Text: err.Error()})
		} else if err != nil {
			return err
		}
	}
	ready := make([]*gateway.Subscriber, 0, len(clients))
	for i, s := range clients {
		switch err := t.await(replies[i]).(type) {
		case nil:
			ready = append(ready, s)
		case refused:
			h.srv.log.Warn("a client with subscriptions stays until the end of the drain", "error", err)
			s.Refuse()
		default:
			return err
		}
	}
	if len(ready) == 0 {
		return nil
	}
	t.mu.Lock()
	t.cutting[batch] = ready
	t.mu.Unlock()
	for {
		err := h.srv.client.Do(t.ctx, "PUBLISH", channel, strconv.FormatUint(batch, 10)).Err()
		if err == nil {
			break
		}
		select {
		case <-time.After(retakeAfter):
			h.srv.log.Warn("cannot publish the mark of a takeover: trying again", "error", err)
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
	select {
	case <-t.marked:
		return nil
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
}
