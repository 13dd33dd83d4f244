package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// The keys of a session. Only streams have groups.
var (
	listKeys   = []string{"a", "b", "c d"}
	moveKeys   = []string{"m", "n"} // destinations, beside listKeys
	zsetKeys   = []string{"y", "z"}
	streamKeys = []string{"s", "r"}
	waitKeys   = slices.Concat(listKeys, moveKeys, zsetKeys, streamKeys)
)

// family is the type that a command waits for.
type family int

const (
	lists family = iota
	zsets
	streams
	groups
)

// waiter is a blocking command of a session.
type waiter struct {
	args   []string
	keys   []string
	family family
	to     string // the destination of BLMOVE
	odd    bool   // respool may need a dedicated connection for it, which the server serves first
}

// typeName is the name of its family in the reply to TYPE.
func (w *waiter) typeName() string { return [...]string{"list", "zset", "stream", "stream"}[w.family] }

func (w *waiter) waitsFor(key string) bool { return slices.Contains(w.keys, key) }

// session draws the commands of rounds, such that the server's own order of replies is defined.
type session struct {
	*pair
	r       *rand.Rand
	waiters []*waiter
	id      int // of the last stream entry
	value   int
	oddKeys []string
	deleted bool // an entry of a stream was deleted
	// By group, the streams that its consumers wait for. Since 7.2, a consumer that finds nothing in one of its streams goes
	// to the end of the lines of all of them, so the order is that of arrival only if all wait for the same streams.
	groupKeys map[string][]string
	done      int // commands of all rounds
}

func (s *session) one(of []string) string { return of[s.r.IntN(len(of))] }
func (s *session) chance(n int) bool      { return s.r.IntN(n) == 0 }

// some draws distinct keys.
func (s *session) some(of []string, most int) []string {
	keys := slices.Clone(of)
	s.r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys[:1+s.r.IntN(min(most, len(keys)))]
}

// waiting returns the waiters without a reply.
func (s *session) waiting() (left []*waiter) {
	for i, w := range s.waiters {
		if s.ended[0][i] == "" {
			left = append(left, w)
		}
	}
	return left
}

// any reports whether a waiter that has no reply has a property.
func (s *session) any(has func(w *waiter) bool) bool { return slices.ContainsFunc(s.waiting(), has) }

func (s *session) element() string {
	s.value++
	switch s.r.IntN(30) {
	case 0:
		return "\r\n$-1\r\n" + strconv.Itoa(s.value)
	case 1:
		return strings.Repeat("x", 5000) + strconv.Itoa(s.value)
	}
	return "v" + strconv.Itoa(s.value)
}

func (s *session) elements(n int) (all []string) {
	for range n {
		all = append(all, s.element())
	}
	return all
}

// scored draws scores and members.
func (s *session) scored(n int) (all []string) {
	for range n {
		all = append(all, s.one([]string{"1", "2", "2.5", "-inf", "1e300", "0.1"}), s.element())
	}
	return all
}

func (s *session) nextID() string {
	s.id++
	return fmt.Sprintf("%d-1", s.id)
}

// endless is a timeout in seconds that outlasts the test.
func (s *session) endless() string {
	return s.one([]string{"0", "0", "0.0", "00", ".0", "0.", "1000", "999.999", "1000.", "0001000", "3000000000"})
}

// blockMS is endless for streams.
func (s *session) blockMS() string { return s.one([]string{"0", "0", "1000000", "3000000000000"}) }

// brief is a timeout in seconds that passes during the test. Redis 6.2 treats less than 2 ms as no timeout.
func (s *session) brief() string {
	if !s.version.Since(7, 0) {
		return s.one([]string{"0.01", "0.0123", "00.005", "0.0099999", ".002", "0.02"})
	}
	return s.one([]string{"0.001", ".002", "0.01", "0.0123", "00.005", "0.0099999", "0.0001", "0.000000001", "0.02"})
}

// draw draws a blocking command with a timeout in seconds and one in ms.
func (s *session) draw(seconds, ms string) *waiter {
	pop := func(f family, end ...string) *waiter {
		keys, name := s.some(s.poppable(f), 3), s.one(end)
		if s.chance(10) {
			keys = append(keys, keys[0])
		}
		return &waiter{family: f, keys: keys, args: append(append([]string{name}, keys...), seconds)}
	}
	mpop := func(f family, name string, end ...string) *waiter {
		keys := s.some(s.poppable(f), 3)
		w := &waiter{family: f, keys: keys, args: append([]string{name, seconds, strconv.Itoa(len(keys))}, keys...)}
		w.args = append(w.args, s.one(end))
		if s.chance(2) {
			w.args = append(w.args, s.one([]string{"COUNT", "count"}), strconv.Itoa(1+s.r.IntN(3)))
		}
		return w
	}
	switch n := s.r.IntN(14); {
	case n < 3:
		return pop(lists, "BLPOP", "BRPOP", "blpop")
	case n == 3 && s.version.Since(7, 0):
		return mpop(lists, "BLMPOP", "LEFT", "RIGHT", "left")
	case n < 6:
		from, to := s.one(listKeys), s.one(slices.Concat(moveKeys, listKeys))
		w := &waiter{family: lists, keys: []string{from}, to: to, args: []string{"BRPOPLPUSH", from, to, seconds}}
		if s.chance(2) {
			w.args = []string{"BLMOVE", from, to, s.one([]string{"LEFT", "RIGHT", "left"}), s.one([]string{"LEFT", "RIGHT"}), seconds}
		}
		return w
	case n < 8:
		return pop(zsets, "BZPOPMIN", "BZPOPMAX")
	case n == 8 && s.version.Since(7, 0):
		return mpop(zsets, "BZMPOP", "MIN", "MAX")
	case n < 11:
		return s.read(ms)
	default:
		return s.groupRead(ms)
	}
}

// poppable are keys for a command that pops. Some have another type. Before 7.0, a command that meets another type goes to
// the end of the line.
func (s *session) poppable(f family) []string {
	other := s.chance(8) && s.version.Since(7, 0)
	switch {
	case f == zsets && other:
		return append(slices.Clone(zsetKeys), "c d")
	case f == zsets:
		return zsetKeys
	case other:
		return append(slices.Clone(listKeys), "z")
	case s.chance(4):
		return append(slices.Clone(listKeys), moveKeys...)
	}
	return listKeys
}

func (s *session) read(ms string) *waiter {
	keys := s.some(streamKeys, 2)
	args := []string{"XREAD"}
	if s.chance(2) {
		args = append(args, "COUNT", strconv.Itoa(1+s.r.IntN(3)))
	}
	args = append(append(args, "BLOCK", ms, "STREAMS"), keys...)
	for range keys {
		ids := []string{"$", "$", fmt.Sprintf("%d-1", s.id), fmt.Sprint(s.id + 1), "0"}
		if s.version.Redis(7, 4) {
			ids = append(ids, "+")
		}
		args = append(args, s.one(ids))
	}
	return &waiter{family: streams, keys: keys, args: args}
}

func (s *session) groupRead(ms string) *waiter {
	group, keys := s.one([]string{"g", "h"}), s.some(streamKeys, 2)
	if known := s.groupKeys[group]; known != nil && s.version.Since(7, 2) {
		keys = known
	}
	s.groupKeys[group] = keys
	args := []string{"XREADGROUP", "GROUP", group, "c" + strconv.Itoa(s.r.IntN(4))}
	if s.chance(2) {
		args = append(args, "COUNT", strconv.Itoa(1+s.r.IntN(2)))
	}
	args = append(args, "BLOCK", ms)
	if s.chance(4) {
		args = append(args, "NOACK")
	}
	args = append(append(args, "STREAMS"), keys...)
	for range keys {
		args = append(args, s.one([]string{">", ">", ">", ">", ">", ">", ">", "0"}))
	}
	return &waiter{family: groups, keys: keys, args: args}
}

// mistaken returns a command that the server refuses at once.
func (s *session) mistaken() *waiter {
	line := s.one([]string{
		"BLPOP a -1", "BRPOP a soon", "BLPOP a nan", "BZPOPMIN y -0.5", "BLPOP a", "BLPOP a 1e400", "BLPOP", "BLMOVE a m UP LEFT 0",
		"XREAD BLOCK 05 STREAMS s $", "XREAD BLOCK -1 STREAMS s $", "XREAD BLOCK 0 STREAMS s r $", "XREAD BLOCK x STREAMS s 0",
		"XREAD BLOCK 0 STREAMS s >", "XREADGROUP GROUP g c BLOCK 0 STREAMS s $", "XREADGROUP GROUP nogroup c BLOCK 0 STREAMS s >",
		"XREAD BLOCK 0 STREAMS s bad", "XREAD COUNT x BLOCK 0 STREAMS s $", "XREADGROUP BLOCK 0 STREAMS s >",
		"BLPOP a 99999999999999999999", "XREAD BLOCK 99999999999999999999 STREAMS s $", "BRPOPLPUSH a m 0x",
	})
	return &waiter{args: strings.Fields(line)}
}

// oddWaiter returns a command whose timeout respool leaves to the server, on a key of its own.
func (s *session) oddWaiter() *waiter {
	key := "odd" + strconv.Itoa(len(s.oddKeys))
	s.oddKeys = append(s.oddKeys, key)
	return &waiter{family: lists, keys: []string{key}, odd: true, args: []string{"BLPOP", key, s.one([]string{"1e3", "0x100", "+1000", "1e+2", "9000000000", "9223372036854775"})}}
}

// prepare draws the data before the commands. idle is for commands that find no data, since their order is undefined.
func (s *session) prepare(idle bool) bool {
	lines := [][]string{
		{"XADD", "s", s.nextID(), "f", "v"}, {"XGROUP", "CREATE", "s", "g", "$"}, {"XGROUP", "CREATE", "s", "h", "$"},
		{"XGROUP", "CREATE", "r", "g", "$", "MKSTREAM"}, {"XGROUP", "CREATE", "r", "h", "$"},
	}
	most := 3
	if idle {
		most = 1
	}
	for range s.r.IntN(most) {
		switch s.r.IntN(5) {
		case 0:
			lines = append(lines, append([]string{"RPUSH", s.one(listKeys)}, s.elements(1+s.r.IntN(3))...))
		case 1:
			lines = append(lines, append([]string{"ZADD", s.one(zsetKeys)}, s.scored(1+s.r.IntN(3))...))
		case 2:
			lines = append(lines, []string{"SET", s.one(slices.Concat(listKeys, moveKeys, zsetKeys)), "text"})
		case 3:
			lines = append(lines, []string{"XADD", s.one(streamKeys), s.nextID(), "f", s.element()})
		case 4:
			lines = append(lines, []string{"XADD", "s", s.nextID(), "f", "v"}, []string{"XREADGROUP", "GROUP", "g", "c0", "STREAMS", "s", ">"})
		}
	}
	if s.deleted = s.chance(4); s.deleted {
		lines = append(lines, []string{"XADD", "s", s.nextID(), "f", "v"}, []string{"XDEL", "s", fmt.Sprintf("%d-1", s.id)})
	}
	return s.change(lines)
}

// round runs one round.
func (s *session) round() bool {
	s.waiters, s.oddKeys, s.groupKeys = nil, nil, map[string][]string{}
	timed := s.chance(6)
	if !s.begin() || !s.prepare(timed) {
		return false
	}
	add := func(w *waiter) {
		s.waiters = append(s.waiters, w)
		s.pair.start(w.args)
	}
	if timed {
		for range roundConns { // all of them end by themselves
			add(s.timed())
		}
		if !s.all() {
			return false
		}
	} else {
		for range 4 + s.r.IntN(12) {
			switch {
			case s.chance(12):
				add(s.mistaken())
			case s.chance(40) && len(s.oddKeys) < 2:
				add(s.oddWaiter())
			default:
				add(s.draw(s.endless(), s.blockMS()))
			}
			if !s.settle() {
				return false
			}
		}
		for range s.r.IntN(8) {
			if !s.changeOne() {
				return false
			}
		}
		for n := 0; len(s.waiting()) > 0; n++ {
			if n > 100 {
				return s.fail("the session cannot end its commands")
			}
			if !s.finish(s.waiting()[0]) {
				return false
			}
		}
	}
	s.done += s.started
	return s.sameData(slices.Concat(waitKeys, s.oddKeys))
}

// roundConns is the largest number of commands in a round.
const roundConns = 40

// timed draws a command that ends at its timeout, or at once with an error.
func (s *session) timed() *waiter {
	for {
		w := s.draw(s.brief(), strconv.Itoa(2+s.r.IntN(20)))
		if w.family < streams || w.family == groups && w.args[len(w.args)-1] == ">" && w.args[len(w.args)-2] != "0" {
			w = &waiter{family: w.family, args: s.onEmpty(w)}
		} else if w.family == groups {
			continue
		}
		return w
	}
}

// onEmpty replaces the keys of a command by keys without data: empty0, empty1.
func (s *session) onEmpty(w *waiter) []string {
	if w.family >= streams {
		return w.args
	}
	args := slices.Clone(w.args)
	for i := 1; i < len(args); i++ {
		if slices.Contains(waitKeys, args[i]) {
			args[i] = s.one([]string{"empty0", "empty1", "empty2"})
		}
	}
	return args
}
