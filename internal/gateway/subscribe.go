package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/resp"
)

var kinds = [...]pubsub.Kind{session.Channel: pubsub.Channel, session.Pattern: pubsub.Pattern, session.Shard: pubsub.Shard}

// subscriptions are the topics of a client, by the user of the engine who subscribed. The client's lock guards them.
type subscriptions struct {
	byUser map[string]*pubsub.Listening // by token
	ticket *ticket                      // of the subscription without a confirmation
}

// listen returns the subscriptions of a user.
func (s *subscriptions) listen(e *engine.Engine, token string, to pubsub.Listener) *pubsub.Listening {
	if l := s.byUser[token]; l != nil {
		return l
	}
	if s.byUser == nil {
		s.byUser = map[string]*pubsub.Listening{}
	}
	l := e.Hub(token).Listen(to)
	s.byUser[token] = l
	return l
}

// has reports whether a user has subscriptions, or had some since the last close.
func (s *subscriptions) has(token string) bool { return s.byUser[token] != nil }

// confirm notes that the subscription is confirmed or has failed.
func (s *subscriptions) confirm(p *pauseControl) {
	p.leave(s.ticket)
	s.ticket = nil
}

// close ends all subscriptions.
func (s *subscriptions) close() {
	for _, l := range s.byUser {
		l.Close()
	}
	s.byUser = nil
}

// subscribe subscribes the client to the step's topics and waits for the confirmation. The output keeps earlier
// messages back until the reply.
func (w *worker) subscribe(ctx context.Context) ([][]byte, error) {
	c := w.c
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return nil, context.Canceled
	}
	topics := c.subscriptions.listen(c.g.engine, c.login.token, (*subscriber)(c))
	c.out.HoldPushes()
	c.mu.Unlock()

	for kind, list := range byKind(w.step.Topics) { // there is one kind
		if err := topics.Add(ctx, kinds[kind], list); err != nil {
			if frame, ok := serverErrorFrame(err); ok && !w.userRefused(ctx, err) {
				return [][]byte{frame}, nil
			}
			return nil, err
		}
	}
	return nil, nil
}

// answer removes the topics that the step ends, after all their messages are delivered, and returns the reply.
func (w *worker) answer(ctx context.Context) ([][]byte, error) {
	c := w.c
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.subscriptions.byUser))
	c.mu.Unlock()
	names := byKind(leaving(w.step))
	for _, l := range all {
		for kind, list := range names {
			l.Leave(ctx, kinds[kind], list...)
		}
	}
	if len(w.step.Reply) == 0 {
		return nil, nil
	}
	return [][]byte{w.step.Reply}, nil
}

func byKind(topics []session.Topic) map[session.TopicKind][]string {
	names := map[session.TopicKind][]string{}
	for _, topic := range topics {
		names[topic.Kind] = append(names[topic.Kind], topic.Name)
	}
	return names
}

// confirmLocked sends the reply that announces messages, and then the messages that were kept back.
func (c *client) confirmLocked(s *pendingReply) {
	c.out.Append(s.reply, false)
	s.reply = nil
	c.out.ReleasePushes()
}

// subscriber is a client as package pubsub sees it.
type subscriber client

// Deliver receives a message from the hub.
func (c *subscriber) Deliver(kind pubsub.Kind, topic string, channel, payload []byte) {
	if s := c.leaving.Load(); s != nil && s.hold(kind, topic, channel, payload) {
		return
	}
	if c.out.PushMessage(c.g.settings.Load().OutputBuffer, func(dst []byte, resp3 bool) []byte {
		return appendMessage(dst, resp3, kind, topic, channel, payload)
	}) {
		c.g.count.slow.Add(1)
	}
}

// appendMessage appends a message of a topic, as a server sends it to a subscriber.
func appendMessage(dst []byte, resp3 bool, kind pubsub.Kind, topic string, channel, payload []byte) []byte {
	size := 3
	if kind == pubsub.Pattern {
		size = 4
	}
	if resp3 {
		dst = append(dst, '>', byte('0'+size), '\r', '\n')
	} else {
		dst = resp.AppendArrayHeader(dst, size)
	}
	switch kind {
	case pubsub.Pattern:
		dst = resp.AppendBulkString(dst, "pmessage")
		dst = resp.AppendBulkString(dst, topic)
	case pubsub.Shard:
		dst = resp.AppendBulkString(dst, "smessage")
	default:
		dst = resp.AppendBulkString(dst, "message")
	}
	dst = resp.AppendBulk(dst, channel)
	return resp.AppendBulk(dst, payload)
}

// Lost notes the loss of the hub's connection. Messages may be missing, as after any failover, and the client stays.
func (c *subscriber) Lost() { c.g.count.gaps.Add(1) }

// Refused handles the end of a subscription that the server does not allow any more. It closes the client, as a server
// does when rights change.
func (c *subscriber) Refused(pubsub.Kind, string, error) { c.out.Close() }

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
