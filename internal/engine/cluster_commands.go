package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"github.com/seed-2b0d76a6/respool/resp"
)

// CrossSlot is what an engine does with a command whose keys lie in several slots of a cluster, if the command can be
// divided: MGET, MSET, DEL, UNLINK, EXISTS, TOUCH and XREAD.
type CrossSlot uint8

// The choices.
const (
	SplitAll   CrossSlot = iota // divide it
	SplitReads                  // divide it if it is read-only
	SplitNone                   // refuse it
)

// crossSlotReply is what a server replies to a command whose keys lie in several slots.
var crossSlotReply = []byte("-CROSSSLOT Keys in request don't hash to the same slot\r\n")

// PartialError reports that a command that was divided over the slots of a cluster failed on some nodes, and took effect
// on others.
type PartialError struct {
	Command string
	Done    []string // the keys on which it took effect
	Err     error    // the first failure
}

func (e *PartialError) Error() string {
	const most = 8 // keys in the text
	shown := make([]string, 0, most+1)
	for i, key := range e.Done {
		if i == most {
			shown = append(shown, fmt.Sprintf("%d more", len(e.Done)-most))
			break
		}
		shown = append(shown, fmt.Sprintf("%.40q", key))
	}
	return fmt.Sprintf("%s took effect only on the keys %s: %v", e.Command, strings.Join(shown, ", "), e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

// doClustered sends a multiplexed command to the node or the nodes of a cluster that take it.
func (e *Engine) doClustered(ctx context.Context, info *command.Info, args []any) ([]byte, error) {
	if wholeCluster(info) {
		return e.doSeveral(ctx, info, args, nil)
	}
	at, err := e.slotOf(info, args)
	switch {
	case err != nil:
		return e.doSeveral(ctx, info, args, err)
	case namesScript(info):
		return e.doScript(ctx, info, args, at)
	}
	return e.doShared(ctx, info, args, at)
}

// doSeveral sends a command that concerns all primaries or, if crossSlot is not nil, has keys in several slots.
func (e *Engine) doSeveral(ctx context.Context, info *command.Info, args []any, crossSlot error) ([]byte, error) {
	if crossSlot != nil && !e.divides(info) {
		return nil, WrapError(crossSlot)
	}
	raw, err := encode(args)
	if err != nil {
		return nil, WrapError(err)
	}
	if crossSlot == nil {
		return e.doWhole(ctx, info, Identity{}, raw)
	}
	few, err := appendArguments(nil, raw)
	if err != nil {
		return nil, WrapError(err)
	}
	cut := multislot.Divide(info, few)
	if cut == nil {
		return nil, WrapError(crossSlot)
	}
	return e.doDivided(ctx, info, Identity{}, cut, false)
}

// divides reports whether the engine divides a command whose keys lie in several slots.
func (e *Engine) divides(info *command.Info) bool {
	return info.Request == command.MultiShard && (e.cluster.CrossSlot == SplitAll || e.cluster.CrossSlot == SplitReads && info.ReadOnly)
}

// doDivided sends the parts of a divided command at once, and joins their replies. home: no replica takes them.
func (e *Engine) doDivided(ctx context.Context, info *command.Info, id Identity, cut *multislot.Cut, home bool) ([]byte, error) {
	s := spread{e: e, id: id, home: home, parts: make([]part, len(cut.Parts))}
	for i, p := range cut.Parts {
		s.parts[i] = part{raw: encodeBytes(p.Args), slot: slot(p.Slot + 1), reads: info.ReadOnly}
	}
	s.send(ctx)
	frame, err := joined(info.Name, !info.ReadOnly, cut, s.parts)
	return frame, WrapError(err)
}

// joined returns the reply to a divided command whose parts are done. It returns a *PartialError if only some parts of a
// command that writes took effect.
func joined(name string, writes bool, cut *multislot.Cut, parts []part) ([]byte, error) {
	frames := make([][]byte, len(parts))
	var done []string
	var failed error
	for i := range parts {
		frames[i] = parts[i].frame
		err := parts[i].failure()
		switch {
		case err == nil:
			for _, key := range cut.Keys(i) {
				done = append(done, string(key))
			}
		case failed == nil:
			failed = err
		}
	}
	switch {
	case failed == nil:
		return cut.Join(frames), nil
	case len(done) > 0 && writes:
		return nil, &PartialError{Command: name, Done: done, Err: WrapError(failed)}
	}
	if i := slices.IndexFunc(parts, func(p part) bool { return p.err != nil }); i >= 0 {
		return nil, parts[i].err
	}
	return cut.Join(frames), nil // the error of a part
}

// failure returns the error of a part that is done, or of its reply.
func (p *part) failure() error {
	if p.err != nil {
		return p.err
	}
	return errorOf(p.frame)
}

// Commands without keys that concern the data of all primaries, but that one primary at a time takes.
var (
	infoScan      = command.Lookup("SCAN")
	infoRandomKey = command.Lookup("RANDOMKEY")
)

// fanOut reports whether all primaries of a cluster must execute a command.
func fanOut(info *command.Info) bool {
	return info.Request == command.AllNodes || info.Request == command.AllShards
}

// wholeCluster reports whether a command concerns all primaries of a cluster.
func wholeCluster(info *command.Info) bool {
	return fanOut(info) || info == infoScan || info == infoRandomKey
}

// doWhole runs a command that concerns all primaries.
func (e *Engine) doWhole(ctx context.Context, info *command.Info, id Identity, raw []byte) (frame []byte, err error) {
	switch info {
	case infoScan:
		frame, err = e.scanStep(ctx, id, raw)
	case infoRandomKey:
		frame, err = e.randomKey(ctx, id, raw)
	default:
		return e.doEverywhere(ctx, info, id, raw)
	}
	return frame, WrapError(err)
}

// doEverywhere sends a command to all primaries at once, and joins their replies.
func (e *Engine) doEverywhere(ctx context.Context, info *command.Info, id Identity, raw []byte) ([]byte, error) {
	parts, err := e.onAllPrimaries(ctx, info, id, raw)
	if err != nil {
		return nil, WrapError(err)
	}
	var frames [][]byte
	var failed error
	for i := range parts {
		if err := parts[i].err; err != nil {
			failed = err
			continue
		}
		frames = append(frames, parts[i].frame)
	}
	if failed != nil && (info.Reply != command.OneSucceeded || len(frames) == 0) {
		return nil, WrapError(failed)
	}
	if failed == nil && errorOf(frames[0]) == nil {
		e.scripts.notice(info, raw)
	}
	return multislot.MergeWhole(info, raw, frames), nil
}

// onAllPrimaries sends a command to all primaries at once, and returns a part for each. If a primary leaves before it has
// executed the command, those that replace it take it. A read-only command then starts again, so that no data counts twice.
func (e *Engine) onAllPrimaries(ctx context.Context, info *command.Info, id Identity, raw []byte) ([]part, error) {
	var so attempts
	var done []part
	for {
		if _, err := e.target(ctx, &so, &request{reads: info.ReadOnly}); err != nil { // waits for a map
			return nil, err
		}
		s := spread{e: e, id: id}
		for _, n := range e.nodes.now.Load().nodes() {
			if !slices.ContainsFunc(done, func(p part) bool { return p.only == n }) {
				s.parts = append(s.parts, part{raw: raw, reads: info.ReadOnly, only: n})
			}
		}
		s.send(ctx)
		left := false
		for _, p := range s.parts {
			if p.err == errNodeLeft {
				left = true
			} else {
				done = append(done, p)
			}
		}
		switch {
		case !left && len(done) > 0:
			return done, nil
		case left && info.ReadOnly:
			done = done[:0]
		}
	}
}

// exchangeClustered runs commands of the gateway that several nodes take. It returns no frames for commands that one node
// takes, and the slot of their keys.
func (e *Engine) exchangeClustered(ctx context.Context, id Identity, req *request) (slot, [][]byte, error) {
	raw, n := req.raw, req.n
	at, err := e.slotOfRaw(raw)
	if n > 1 && err != nil {
		return anySlot, slices.Repeat([][]byte{crossSlotReply}, n), nil
	}
	for c := range e.commandsIn(raw) {
		var frame []byte
		req.home = req.home || onlyPrimary(c.info)
		switch {
		case n > 1 || c.info == nil:
			return at, nil, nil
		case wholeCluster(c.info):
			frame, err = e.doWhole(ctx, c.info, e.identities.Own(id), raw)
		case err == nil:
			return at, nil, nil
		default:
			cut := (*multislot.Cut)(nil)
			if e.divides(c.info) {
				cut = multislot.Divide(c.info, c.args)
			}
			if cut == nil {
				return anySlot, [][]byte{crossSlotReply}, nil
			}
			frame, err = e.doDivided(ctx, c.info, e.identities.Own(id), cut, req.home)
		}
		return anySlot, [][]byte{frame}, err
	}
	return at, nil, nil
}

// oneNode returns the slot of commands that one node takes. ok is false if several nodes take them, or none. home: no replica
// takes them.
func (e *Engine) oneNode(raw []byte) (at slot, home, ok bool) {
	at, err := e.slotOfRaw(raw)
	if err != nil {
		return anySlot, false, false
	}
	for c := range e.commandsIn(raw) {
		if c.info != nil && wholeCluster(c.info) {
			return anySlot, false, false
		}
		home = home || onlyPrimary(c.info)
	}
	return at, home, true
}

// primaries returns the primaries of the cluster. It waits for the first map.
func (e *Engine) primaries(ctx context.Context) ([]*node, error) {
	for so := (attempts{}); ; {
		if _, err := e.target(ctx, &so, &request{reads: true}); err != nil {
			return nil, err
		}
		if all := e.nodes.now.Load().nodes(); len(all) > 0 {
			return all, nil
		}
	}
}

// readAt sends a read-only command to one primary. The error is errNodeLeft if the node has left.
func (e *Engine) readAt(ctx context.Context, n *node, id Identity, raw []byte) ([]byte, error) {
	s := spread{e: e, id: id, parts: []part{{raw: raw, reads: true, only: n}}}
	s.send(ctx)
	return s.parts[0].frame, s.parts[0].err
}

// scanStep runs SCAN on the primary that the cursor names, and on the next ones while the scan of each ends with fewer
// elements than the client asks for. The new cursor names the last primary, or the one behind it.
func (e *Engine) scanStep(ctx context.Context, id Identity, raw []byte) ([]byte, error) {
	args, err := appendArguments(nil, raw)
	if err != nil || len(args) < 2 {
		return []byte("-ERR wrong number of arguments for 'scan' command\r\n"), err
	}
	page := multislot.NewScanPage(args)
	number, own, err := multislot.SplitCursor(string(args[1]))
	for err == nil {
		var n *node
		var frame []byte
		var at int
		if at, n, err = e.scannedNode(ctx, number); err != nil {
			break
		}
		if n == nil { // the last node was scanned, or has left
			return page.Reply("0"), nil
		}
		if at != number {
			number, own = at, "0"
		}
		args[1] = []byte(own)
		frame, err = e.readAt(ctx, n, id, encodeBytes(args))
		if err == errNodeLeft {
			number, own, err = number+1, "0", nil
			continue
		}
		if err != nil {
			break
		}
		var ok bool
		if own, ok = page.Add(frame); !ok {
			return frame, nil
		}
		if own == "0" {
			number++
			if !page.Full() {
				continue
			}
			if at, n, err = e.scannedNode(ctx, number); err != nil {
				break
			}
			if n == nil {
				return page.Reply("0"), nil
			}
			number = at
		}
		var next string
		if next, err = multislot.JoinCursor(number, own); err == nil {
			return page.Reply(next), nil
		}
	}
	if errors.Is(err, multislot.ErrCursor) || errors.Is(err, multislot.ErrCursorTooLarge) || errors.Is(err, multislot.ErrManyPrimaries) {
		return resp.AppendError(nil, err.Error()), nil
	}
	return nil, err
}

// scannedNode returns the first primary whose number in cursors is not below from; nil if there is none.
func (e *Engine) scannedNode(ctx context.Context, from int) (int, *node, error) {
	all, err := e.primaries(ctx)
	if err != nil {
		return 0, nil, err
	}
	addrs := make([]string, len(all))
	for i, n := range all {
		addrs[i] = n.addr
	}
	number, addr, ok, err := e.ordinals.Next(from, addrs)
	if !ok {
		return 0, nil, err
	}
	return number, all[slices.Index(addrs, addr)], nil
}

// randomKey runs RANDOMKEY on a primary. The probability of each is its share of the keys.
func (e *Engine) randomKey(ctx context.Context, id Identity, raw []byte) ([]byte, error) {
	sizes, err := e.onAllPrimaries(ctx, command.Lookup("DBSIZE"), id, []byte("*1\r\n$6\r\nDBSIZE\r\n"))
	if err != nil {
		return nil, err
	}
	weights, total := make([]int64, len(sizes)), int64(0)
	for i := range sizes {
		if err := sizes[i].failure(); err != nil {
			return sizes[i].frame, sizes[i].err
		}
		h, _ := resp.ReadHead(sizes[i].frame)
		weights[i] = max(h.Int, 0)
		total += weights[i]
	}
	for {
		drawn := 0
		if total > 0 {
			for left := rand.N(total); left >= weights[drawn]; drawn++ {
				left -= weights[drawn]
			}
		}
		frame, err := e.readAt(ctx, sizes[drawn].only, id, raw)
		total -= weights[drawn]
		weights[drawn] = 0
		empty := err == errNodeLeft || err == nil && isNull(frame) // its keys have expired or moved meanwhile
		if !empty || total == 0 {
			return frame, err
		}
	}
}

// isNull reports whether a reply is null.
func isNull(frame []byte) bool { return frame[0] == '_' || bytes.HasPrefix(frame, []byte("$-1")) }

// ScanAll scans all primaries. args returns the command for a cursor. It yields the reply to each step. It keeps SCAN's
// promise while slots move: a primary that has received keys of others since its scan began is scanned again.
func (e *Engine) ScanAll(ctx context.Context, args func(cursor string) []any) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		scanned := map[string]*multislot.Claims{} // by address: before the last scan
		for {
			n, claims, err := e.nextScan(ctx, scanned)
			if err != nil {
				yield(nil, WrapError(err))
				return
			}
			if n == nil {
				return
			}
			scanned[n.addr] = claims
			for cursor := "0"; ; {
				raw, err := encode(args(cursor))
				var frame []byte
				if err == nil {
					frame, err = e.readAt(ctx, n, Identity{}, raw)
				}
				if err == errNodeLeft {
					delete(scanned, n.addr)
					break
				}
				if !yield(frame, WrapError(err)) || err != nil || errorOf(frame) != nil {
					return
				}
				if cursor = scanCursor(frame); cursor == "0" {
					break
				}
			}
		}
	}
}

// scanCursor returns the cursor in a reply to SCAN; 0 if it has none.
func scanCursor(frame []byte) string {
	elements, _ := resp.Elements(frame)
	if len(elements) == 0 {
		return "0"
	}
	text, ok := resp.StringOf(elements[0])
	if !ok {
		return "0"
	}
	return string(text)
}

// nextScan returns a primary to scan, and its claims; nil if all keys were seen. It prefers one that was not scanned yet.
func (e *Engine) nextScan(ctx context.Context, scanned map[string]*multislot.Claims) (*node, *multislot.Claims, error) {
	for {
		all, err := e.primaries(ctx)
		if err != nil {
			return nil, nil, err
		}
		for _, n := range all {
			if scanned[n.addr] != nil {
				continue
			}
			if claims, err := e.claimsOf(ctx, n); err != errNodeLeft {
				return n, claims, err
			}
		}
		now := map[*node]*multislot.Claims{}
		for _, n := range all {
			if now[n], err = e.claimsOf(ctx, n); err != nil && err != errNodeLeft {
				return nil, nil, err
			}
		}
		if again, err := e.refreshOwners(ctx, now); err != nil {
			return nil, nil, err
		} else if again {
			continue
		}
		for n, claims := range now {
			switch before := scanned[n.addr]; {
			case claims == nil: // it has left
			case before == nil:
				return n, claims, nil
			case claims.Received(before):
				return n, claims.Arrived(), nil
			}
		}
		return nil, nil, nil
	}
}
