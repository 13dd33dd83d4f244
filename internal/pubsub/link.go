package pubsub

import "iter"

// link carries the topics of one source, over one connection at a time. It exists while it has topics, and so does its
// goroutine. Hub.mu guards its mutable fields.
type link struct {
	h      *Hub
	source Source
	wake   chan struct{} // capacity 1: something to send, or no topic left

	notices [kinds]map[string]*topic // the node's own topics of keyspace notifications

	wanted  int      // topics with members that stay
	dirty   []*topic // topics whose state at the server may differ
	later   []*topic // refused topics, to be requested after a pause
	session *session // nil without a connection
	running bool
}

// linkLocked returns the link of a source.
func (h *Hub) linkLocked(source Source) *link {
	l := h.links[source]
	if l == nil {
		l = &link{h: h, source: source, wake: make(chan struct{}, 1)}
		h.links[source] = l
	}
	return l
}

// startLocked starts the link's goroutine unless it runs.
func (l *link) startLocked() {
	if !l.running {
		l.running = true
		l.h.wg.Go(l.run)
	}
}

// wakeUp wakes the link's goroutine.
func (l *link) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// topicsLocked yields the topics of the link. The caller may remove and move them.
func (l *link) topicsLocked() iter.Seq[*topic] {
	return func(yield func(*topic) bool) {
		for k, topics := range l.h.topics {
			for _, t := range topics {
				if t.link == l && !yield(t) {
					return
				}
			}
			for _, t := range l.notices[k] {
				if !yield(t) {
					return
				}
			}
		}
	}
}

// topicLocked returns the topic of the link with a name; nil if it has none.
func (l *link) topicLocked(kind Kind, name []byte) *topic {
	if t := l.h.topics[kind][string(name)]; t != nil && t.link == l {
		return t
	}
	return l.notices[kind][string(name)]
}

// deleteLocked forgets a topic.
func (h *Hub) deleteLocked(t *topic) {
	if t.passes == notifications {
		delete(t.link.notices[t.kind], t.name)
		return
	}
	delete(h.topics[t.kind], t.name)
}

// clearLocked forgets all topics of the link.
func (l *link) clearLocked() {
	for t := range l.topicsLocked() {
		l.h.deleteLocked(t)
	}
	l.dirty, l.later = nil, nil
}

// sessions returns the current sessions of all links.
func (h *Hub) sessions() (all []*session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.links {
		if l.session != nil {
			all = append(all, l.session)
		}
	}
	return all
}
