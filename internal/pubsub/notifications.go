package pubsub

import (
	"slices"
	"strings"
)

// Each node of a cluster sends notifications of its own keys only, and only to its own subscribers, unlike other
// messages. So a name that can match channels of notifications has a topic at each primary. If it can match other
// channels too, it also has an ordinary topic. Filters deliver each message once: those of the primaries deliver
// notifications, and the ordinary one delivers all else.

// filter selects the messages that a topic delivers.
type filter uint8

const (
	everything    filter = iota
	notifications        // only keyspace notifications
	others               // all except keyspace notifications
)

// notificationPrefixes are the beginnings of the channels of keyspace notifications.
var notificationPrefixes = [...]string{"__keyspace@", "__keyevent@"}

// filterOf returns everything for names that match no keyspace notifications, notifications for names that match nothing
// else, and others for names that match both. It may return others for a pattern that matches only one of them.
func filterOf(kind Kind, name string) filter {
	if kind == Shard {
		return everything
	}
	if isNotification([]byte(name)) {
		return notifications
	}
	if i := strings.IndexAny(name, `*?[\`); kind == Pattern && i >= 0 {
		for _, prefix := range notificationPrefixes {
			if strings.HasPrefix(prefix, name[:i]) {
				return others
			}
		}
	}
	return everything
}

func isNotification(channel []byte) bool {
	for _, prefix := range notificationPrefixes {
		if len(channel) >= len(prefix) && string(channel[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

// message reports whether a message of a channel passes.
func (f filter) message(channel []byte) bool {
	return f == everything || isNotification(channel) == (f == notifications)
}

// notifyLocked adds an interest to the topics of keyspace notifications at all primaries.
func (h *Hub) notifyLocked(s *Subscription, i *interest) {
	h.renotifyLocked()
	h.notified[i] = s
	for _, source := range h.primaries {
		h.enterLocked(s, i, h.linkLocked(source).noticeLocked(s.kind, i.name))
	}
}

// noticeLocked returns the link's topic of keyspace notifications with a name.
func (l *link) noticeLocked(kind Kind, name string) *topic {
	t := l.notices[kind][name]
	if t == nil {
		t = &topic{kind: kind, name: name, link: l, passes: notifications}
		if l.notices[kind] == nil {
			l.notices[kind] = map[string]*topic{}
		}
		l.notices[kind][name] = t
	}
	return t
}

// renotifyLocked subscribes names of keyspace notifications at the present primaries.
func (h *Hub) renotifyLocked() {
	if h.cfg.Cluster == nil {
		return
	}
	primaries := h.cfg.Cluster.Primaries()
	if slices.Equal(primaries, h.primaries) {
		return
	}
	h.primaries = primaries
	h.losses++
	for i, s := range h.notified {
		h.spreadLocked(s, i)
	}
}

// spreadLocked gives an interest a member at each primary, and at no other node. Nodes that were demoted also send the
// notifications of their new primaries, so their members leave at once. A subscription that was confirmed before misses
// the notifications of a new primary until that one confirms it.
func (h *Hub) spreadLocked(s *Subscription, i *interest) {
	before := slices.DeleteFunc(slices.Clone(i.members), func(m *member) bool { return m.topic.passes != notifications })
	served := slices.ContainsFunc(before, func(m *member) bool { return m.live || m.lost })
	if !i.leaves() {
		for _, source := range h.primaries {
			if slices.ContainsFunc(before, func(m *member) bool { return m.topic.link.source == source }) {
				continue
			}
			l := h.linkLocked(source)
			m := h.enterLocked(s, i, l.noticeLocked(s.kind, i.name))
			if served {
				h.missLocked(m)
			}
			l.startLocked()
			l.wakeUp()
		}
	}
	for _, m := range before {
		if !slices.Contains(h.primaries, m.topic.link.source) {
			h.leaveLocked(m)
		}
	}
}
