package sentinel

import (
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/topology"
)

// channels are the channels of a subscription.
var channels = []string{
	"+switch-master", "+failover-end", "+promoted-slave", promoting, "+odown", "-odown", "+sdown", "-sdown", "+reboot",
	"+role-change", "-role-change", "+convert-to-slave", "+slave", "+slave-reconf-done", "+sentinel", "+reset-master",
}

// message is the content of a push.
type message struct {
	service string // the service that it concerns

	// Of +switch-master.
	from, to string

	// Of all others.
	kind string // master, slave or sentinel
	id   string
	addr string
	of   string // the primary of a replica or a sentinel
}

// promoting is published before the sentinel orders the replica to become primary.
const promoting = "+failover-state-send-slaveof-noone"

// parsePush reads the payload of a push. It is not ok for one that is malformed.
//
//	+switch-master: name ip port ip port
//	of a master:    master name ip port [more]
//	of others:      kind id ip port @ name ip port [more]
func parsePush(channel, payload string) (msg message, ok bool) {
	if len(payload) > 4096 {
		return msg, false
	}
	f := strings.Split(payload, " ")
	if channel == "+switch-master" {
		if len(f) != 5 || f[0] == "" {
			return msg, false
		}
		from, okFrom := topology.JoinAddr(f[1], f[2])
		to, okTo := topology.JoinAddr(f[3], f[4])
		return message{service: f[0], from: from, to: to}, okFrom && okTo
	}
	if len(f) < 4 {
		return msg, false
	}
	msg = message{kind: f[0], id: f[1]}
	if msg.addr, ok = topology.JoinAddr(f[2], f[3]); !ok {
		return message{}, false
	}
	if msg.kind == "master" {
		msg.service, msg.id = f[1], ""
		return msg, msg.service != ""
	}
	if msg.kind != "slave" && msg.kind != "sentinel" || len(f) < 8 || f[4] != "@" || f[5] == "" {
		return message{}, false
	}
	if msg.of, ok = topology.JoinAddr(f[6], f[7]); !ok {
		return message{}, false
	}
	msg.service = f[5]
	return msg, true
}

// pushed processes a push. A push proves nothing: it only starts queries.
func (m *Machine) pushed(e Push) {
	p := m.peers.at(e.Sentinel)
	if p == nil || !known(e.Channel) {
		return
	}
	msg, ok := parsePush(e.Channel, e.Payload)
	if !ok {
		m.malformed++
		return
	}
	if msg.service != m.cfg.Name {
		return
	}
	if e.Channel == "+switch-master" {
		m.switched(p, msg)
		return
	}
	switch msg.kind {
	case "sentinel":
		if e.Channel == "+sentinel" {
			m.learn(m.cfg.MapAddr(msg.addr), msg.id)
		}
	case "slave":
		m.replicas.refresh(m.now)
		if e.Channel == "+promoted-slave" {
			m.look(p)
		}
		if e.Channel == promoting {
			m.hold(p, msg)
		}
	case "master":
		m.look(p)
		if e.Channel == "+reboot" && m.known && msg.addr == m.primary {
			m.suspect("+reboot", 0)
		}
	}
}

func known(channel string) bool {
	for _, c := range channels {
		if c == channel {
			return true
		}
	}
	return false
}

// switched processes the announcement of a failover. The machine queries the new primary and the sentinel at once,
// because a push has no config epoch and may be outdated.
func (m *Machine) switched(p *peer, msg message) {
	if m.known && msg.to == m.primary || msg.from == msg.to {
		return
	}
	t := m.targets.aim(&m.step, msg.to, "+switch-master from "+p.addr, p)
	t.probe.wanted = true
	if t.probe.seq == 0 {
		t.probe.retryAt, t.probe.fails, t.tries = m.now, 0, 0
	}
	t.by, t.since = p, m.now
	m.look(p)
	m.lookNow()
}
