package engine

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// slot is a hash slot of a cluster, plus 1. It is anySlot for a command without keys, and outside a cluster.
type slot uint16

// anySlot is the slot of a command that any node may take.
const anySlot slot = 0

// slotMap states which nodes serve the slots of a cluster. clusterRouter.apply makes it from a cluster.Map. It is immutable,
// except for the turns of the replicas.
type slotMap struct {
	version uint64
	owners  *[command.Slots]uint16 // index into shards plus 1; 0: no node serves the slot
	shards  []shard
	role    Role
}

// shard is a primary with the replicas that may take its read-only commands.
type shard struct {
	primary *node
	readers []*node // none if the role is Primary
	turn    *atomic.Uint32
}

// reading states which replicas a read prefers. The zero reading is for the engine's own identity.
type reading struct {
	id    Identity
	shun  *node // failed at the last attempt; nil: none
	turn  uint32
	fixed bool // turn chooses among the replicas; otherwise they take turns
}

// pick returns the node for a command whose keys lie in a slot. Its node is nil if no node serves the slot. reads is nil
// for a command that only the primary may take.
func (m *slotMap) pick(s slot, reads *reading, r *route) target {
	t := target{version: m.version}
	switch {
	case s == anySlot:
		t.node = r.node()
	case m.owners[s-1] == 0:
	default:
		of := &m.shards[m.owners[s-1]-1]
		if t.node = of.primary; reads != nil && m.role != Primary {
			t.node, t.replica, t.yields = of.reader(reads, m.role, r.nearest)
		}
	}
	return t
}

// first is first of a route.
func (m *slotMap) first(info *command.Info, at slot, r *route) target {
	if info.ReadOnly && !onlyPrimary(info) {
		return m.pick(at, &reading{}, r)
	}
	return m.pick(at, nil, r)
}

// reader returns the node for a read: a replica that has an open lane and did not fail just now. Without such a replica it is
// the primary if the role allows that; otherwise a replica whose lane must be awaited, or nil. yields: the read goes to the
// primary if the replica's lane has closed meanwhile.
func (of *shard) reader(reads *reading, role Role, nearest bool) (n *node, replica, yields bool) {
	count := uint32(len(of.readers))
	if count == 0 {
		if role == PreferReplica {
			return of.primary, false, false
		}
		return nil, false, false
	}
	turn := reads.turn
	if !reads.fixed {
		turn = of.turn.Add(1)
	}
	farthest := farthestOf(of.readers, nearest)
	var other *node // it must be awaited
	for pass := range 2 {
		for i := range count {
			n := of.readers[(turn+i)%count]
			if near := n.latency.Load() <= farthest; near != (pass == 0) {
				continue
			}
			switch l := n.readers(reads.id).Pick(pool.Any); {
			case l == nil:
				n.wish(reads.id)
			case !l.Avoided() && n != reads.shun:
				return n, true, role == PreferReplica
			}
			if other == nil || other == reads.shun {
				other = n
			}
		}
	}
	if role == PreferReplica {
		return of.primary, false, false
	}
	return other, true, false
}

// readers returns the subpool of an identity for reads from a replica.
func (n *node) readers(id Identity) *pool.Subpool {
	id.Replica = true
	return n.subpool(id)
}

// wishEvery is the least interval between two requests for a lane at a replica that has none.
const wishEvery = 5 * time.Millisecond

// wish requests a lane for later reads of an identity.
func (n *node) wish(id Identity) {
	last, now := n.wished.Load(), time.Now().UnixNano()
	if time.Duration(now-last) >= wishEvery && n.wished.CompareAndSwap(last, now) {
		n.readers(id).Wish()
	}
}

// owner returns the primary that serves a slot; nil if none does.
func (m *slotMap) owner(s slot) *node {
	if i := m.owners[s-1]; i > 0 {
		return m.shards[i-1].primary
	}
	return nil
}

// slotOf returns the first slot of a primary; anySlot if it has none.
func (m *slotMap) slotOf(n *node) slot {
	for i := range m.owners {
		if at := slot(i + 1); m.owner(at) == n {
			return at
		}
	}
	return anySlot
}

// slotIdentity is the identity of a wait in a cluster. The group of its slot is a part of it, so that attempts at a node
// that does not answer do not delay those at other nodes.
type slotIdentity struct {
	Identity
	group uint8
}

const (
	slotGroups      = 64
	attemptsOfGroup = 256 // in flight
)

// identityOf returns the identity of a wait's connection.
func identityOf(of any) Identity {
	if s, ok := of.(slotIdentity); ok {
		return s.Identity
	}
	return of.(Identity)
}

var (
	// infoPublish is PUBLISH. All messages of a channel go through one node, so that they keep their order.
	infoPublish = command.Lookup("PUBLISH")
	// The keys of these commands are a slot.
	infoCountKeys = command.LookupSub("CLUSTER", "COUNTKEYSINSLOT")
	infoGetKeys   = command.LookupSub("CLUSTER", "GETKEYSINSLOT")
	// Replicas do not get the scripts that SCRIPT LOAD loads.
	infoEvalShaRO = command.Lookup("EVALSHA_RO")
	infoEvalSha   = command.Lookup("EVALSHA")
)

// onlyPrimary reports whether no replica takes a command, although it only reads.
func onlyPrimary(info *command.Info) bool {
	return info == infoEvalShaRO || info == infoCountKeys || info == infoGetKeys
}

// slotOf returns the slot of a command's keys. Outside a cluster it is anySlot. It returns a *command.CrossSlotError if
// the keys lie in several slots.
func (e *Engine) slotOf(info *command.Info, args []any) (slot, error) {
	switch {
	case e.cluster == nil || info == nil:
		return anySlot, nil
	case info == infoPublish && len(args) > 1:
		return slot(command.SlotOfArgument(args[1]) + 1), nil
	}
	n, err := command.SlotOf(info, args)
	return slot(n + 1), err
}

// slotOfBytes is slotOf for arguments in bytes.
func (e *Engine) slotOfBytes(info *command.Info, args [][]byte) (slot, error) {
	switch {
	case e.cluster == nil || info == nil:
		return anySlot, nil
	case info == infoPublish && len(args) > 1:
		return slot(command.Slot(args[1]) + 1), nil
	case (info == infoCountKeys || info == infoGetKeys) && len(args) > 2:
		if n, err := strconv.Atoi(string(args[2])); err == nil && n >= 0 && n < command.Slots {
			return slot(n + 1), nil
		}
		return anySlot, nil // the server refuses it
	}
	n, err := command.SlotOfBytes(info, args)
	return slot(n + 1), err
}

// slotOfKeys returns the slot of keys.
func (e *Engine) slotOfKeys(keys []string) (slot, error) {
	all := anySlot
	if e.cluster == nil {
		return all, nil
	}
	for _, k := range keys {
		at := slot(command.Slot(k) + 1)
		if all != anySlot && at != all {
			return anySlot, &command.CrossSlotError{Command: "WATCH", First: keys[0], Second: k}
		}
		all = at
	}
	return all, nil
}

// slotOfRaw returns the slot of encoded commands that one node must take. Among several commands, PUBLISH has none: it
// goes to the node of the keys.
func (e *Engine) slotOfRaw(raw []byte) (slot, error) {
	if e.cluster == nil {
		return anySlot, nil
	}
	all, first := anySlot, ""
	for c := range e.commandsIn(raw) {
		if c.info == infoPublish && len(c.raw) < len(raw) {
			continue
		}
		at, err := e.slotOfBytes(c.info, c.args)
		switch {
		case err != nil:
			return anySlot, err
		case at == anySlot || at == all:
		case all == anySlot:
			all, first = at, firstKey(&c)
		default:
			return anySlot, &command.CrossSlotError{Command: c.info.Name, First: first, Second: firstKey(&c)}
		}
	}
	return all, nil
}

// encoded is an encoded command with its arguments.
type encoded struct {
	raw  []byte
	args [][]byte
	info *command.Info // nil: unknown
}

// commandsIn yields the commands in raw, which is valid.
func (e *Engine) commandsIn(raw []byte) iter.Seq[encoded] {
	return func(yield func(encoded) bool) {
		var args [][]byte
		for len(raw) > 0 {
			n, err := resp.FrameLen(raw)
			if err != nil {
				return
			}
			if args, err = appendArguments(args[:0], raw[:n]); err != nil {
				return
			}
			info, class := command.ClassifyBytes(args)
			if class == command.Unknown {
				info, _ = e.vocabulary.FindBytes(args)
			}
			if !yield(encoded{raw[:n], args, info}) {
				return
			}
			raw = raw[n:]
		}
	}
}

// firstKey returns the first key of a command; empty if it has none.
func firstKey(c *encoded) string {
	keys, _ := command.KeysOfBytes(c.info, c.args, nil)
	if len(keys) == 0 {
		return ""
	}
	return string(c.args[keys[0]])
}

var rawClusterNodes = []byte("*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n")

// claimsOf returns the slots that a primary reports to have.
func (e *Engine) claimsOf(ctx context.Context, n *node) (*multislot.Claims, error) {
	frame, err := e.readAt(ctx, n, Identity{}, rawClusterNodes)
	if err == nil {
		err = errorOf(frame)
	}
	if err != nil {
		return nil, err
	}
	h, err := resp.ReadHead(frame)
	return multislot.ReadClaims(string(h.Str)), err
}

// refreshOwners asks for the owners of slots that their nodes do not claim any more. It reports whether the primaries have
// changed.
func (e *Engine) refreshOwners(ctx context.Context, now map[*node]*multislot.Claims) (bool, error) {
	before := e.nodes.now.Load().nodes()
	for n := range command.Slots {
		at := slot(n + 1)
		r := e.nodes.now.Load()
		owner := r.slots.owner(at)
		if claims := now[owner]; owner == nil || claims == nil || claims.Owned[n] {
			continue
		}
		s := spread{e: e, home: true, parts: []part{{raw: encodeBytes([][]byte{[]byte("EXISTS"), multislot.KeyIn(n)}), slot: at, reads: true}}}
		if s.send(ctx); s.parts[0].err != nil {
			return false, s.parts[0].err
		}
	}
	return !slices.Equal(before, e.nodes.now.Load().nodes()), nil
}
