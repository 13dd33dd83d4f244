package pubsub

import "context"

type Listener interface {
	Deliver(kind Kind, topic string, channel, payload []byte)
	Lost()
	Refused(kind Kind, topic string, err error)
}
type Listening struct{}

func (h *Hub) Listen(l Listener) *Listening                                   { return &Listening{} }
func (s *Listening) Add(ctx context.Context, kind Kind, names []string) error { return nil }
func (s *Listening) Remove(kind Kind, names ...string)                        {}
func (s *Listening) Close()                                                   {}
