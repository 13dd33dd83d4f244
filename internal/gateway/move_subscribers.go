package gateway

import (
	"context"
	"sync"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
)

// Subscriber is a client with subscriptions that moves to another process. That process subscribes to Topics first. Then a
// mark, a message that both processes receive over the connections of their subscriptions, divides the messages: those before
// it go to the client from here, those after it from there.
type Subscriber struct {
	Topics []session.Topic
	Proto  int // of the client's messages
	Number any // of the Mover

	c  *client
	mu sync.Mutex // taken under the lock of a hub

	cut  bool   // the mark has come
	held []byte // messages after the mark, in case the client stays
	over bool   // held was too large
}

// prepareLocked offers a client with subscriptions. Commands in flight do not change these: a change is a barrier. It returns
// false if the client stays.
func (c *client) prepareLocked(to Mover) bool {
	own := c.subscriptions.byUser[""]
	if c.g.engine.Clustered() || own == nil || len(c.subscriptions.byUser) > 1 || !c.session.Movable() || c.login.token != "" ||
		c.in.hungUp || c.in.eof || c.barrier.closed() || c.execution.running {
		return false
	}
	snap := c.session.Snapshot()
	s := &Subscriber{c: c, Topics: snap.Topics, Proto: snap.Identity.Proto}
	c.leaving.Store(s) // from now on the client takes no request
	if !to.Subscriber(s) {
		c.leaving.Store(nil)
		return false
	}
	return true
}

// Cut notes that the mark has come. It is called where the messages of the hub are delivered.
func (s *Subscriber) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

func (s *Subscriber) isCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

// Stay delivers the messages since the mark: the client goes on here.
func (s *Subscriber) Stay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.c.g.settings.Load().OutputBuffer
	if s.over || len(s.held) > 0 && s.c.out.Push(s.held, limit) {
		s.c.g.count.slow.Add(1)
		s.c.out.Close()
	}
	s.cut, s.held = false, nil
	s.c.leaving.CompareAndSwap(s, nil)
	s.c.out.Resume() // it has held still
}

// Refuse is Stay, and MoveClients does not try the client again.
func (s *Subscriber) Refuse() {
	s.c.stay()
	s.Stay()
}

// hold keeps a message after the mark. It returns false for those before it.
func (s *Subscriber) hold(kind pubsub.Kind, topic string, channel, payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut && !s.over {
		s.held = appendMessage(s.held, s.Proto == 3, kind, topic, channel, payload)
		s.over = len(s.held) > s.c.g.settings.Load().OutputBuffer
	}
	return s.cut
}

// Arrival holds the subscriptions of a client that moves here. It is the listener of these subscriptions, also after the
// client has come.
type Arrival struct {
	g         *Gateway
	listening *pubsub.Listening
	resp3     bool

	mu     sync.Mutex // taken under the lock of the hub
	open   bool       // the mark has come
	c      *client    // nil until the client has come
	held   []byte     // messages after the mark, until the client comes
	closes bool       // held was too large, or the server refused a topic: the client must be closed
}

// Expect subscribes to the topics of a client that moves here with a protocol version. It blocks until the server has confirmed
// them, or ctx ends. The caller must pass the result to Adopt, or drop it.
func (g *Gateway) Expect(ctx context.Context, topics []session.Topic, proto int) (*Arrival, error) {
	a := &Arrival{g: g, resp3: proto == 3}
	a.listening = g.engine.Hub("").Listen(a)
	for kind, list := range byKind(topics) {
		if err := a.listening.Add(ctx, kinds[kind], list); err != nil {
			a.listening.Close()
			return nil, err
		}
	}
	return a, nil
}

// Open notes that the mark has come. It is called where the messages of the hub are delivered.
func (a *Arrival) Open() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = true
}

// Drop ends the subscriptions: the client does not come.
func (a *Arrival) Drop() { a.listening.Close() }

// attach delivers the messages since the mark to the client, and all later ones.
func (a *Arrival) attach(c *client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.c = c
	if a.closes || len(a.held) > 0 && c.out.Push(a.held, a.g.settings.Load().OutputBuffer) {
		a.g.count.slow.Add(1)
		c.out.Close()
	}
	a.held = nil
}

// Deliver implements pubsub.Listener.
func (a *Arrival) Deliver(kind pubsub.Kind, topic string, channel, payload []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.open: // the other process delivers it
	case a.c != nil:
		(*subscriber)(a.c).Deliver(kind, topic, channel, payload)
	case !a.closes:
		a.held = appendMessage(a.held, a.resp3, kind, topic, channel, payload)
		a.closes = len(a.held) > a.g.settings.Load().OutputBuffer
	}
}

// Lost implements pubsub.Listener. The mark may be lost too.
func (a *Arrival) Lost() {
	a.g.count.gaps.Add(1)
	a.Open()
}

// Refused implements pubsub.Listener.
func (a *Arrival) Refused(pubsub.Kind, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closes = true; a.c != nil {
		a.c.out.Close()
	}
}

// Marks calls came with the payload of each message of a channel, where the messages of the subscriptions are delivered, and
// lost when messages may be missing. Both must neither block nor call the gateway. It blocks until the server has confirmed the
// subscription, or ctx ends. The caller must call stop.
func (g *Gateway) Marks(ctx context.Context, channel string, came func(payload string), lost func()) (stop func(), err error) {
	l := g.engine.Hub("").Listen(&marks{came, lost})
	if err := l.Add(ctx, pubsub.Channel, []string{channel}); err != nil {
		l.Close()
		return nil, err
	}
	return l.Close, nil
}

// marks is the listener of Marks.
type marks struct {
	came func(payload string)
	lost func()
}

func (m *marks) Deliver(_ pubsub.Kind, _ string, _, payload []byte) { m.came(string(payload)) }
func (m *marks) Lost()                                              { m.lost() }
func (m *marks) Refused(pubsub.Kind, string, error)                 { m.lost() }
