package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// changeOne changes one key while commands wait, and compares what happens.
func (s *session) changeOne() bool {
	key := s.one(waitKeys)
	switch s.r.IntN(12) {
	case 0:
		return !s.loses(key) || s.apply([][]string{{"DEL", key}})
	case 1: // a type that nobody waits for
		if s.holdsGroups(key) {
			return true
		}
		return s.apply([][]string{{"SET", key, "text"}})
	case 2:
		return s.expire(key)
	case 3:
		if s.chance(3) && s.loses("") {
			return s.apply([][]string{{s.one([]string{"FLUSHALL", "FLUSHDB"})}})
		}
		return true
	case 4:
		// If a consumer waits for several streams, one may disappear while another receives entries: respool does not see
		// them at the same time.
		if s.chance(3) && s.loses("") && !s.any(func(w *waiter) bool { return w.family == groups && len(w.keys) > 1 }) {
			return s.swap(key)
		}
		return true
	case 5:
		if !s.any(func(w *waiter) bool { return w.family == groups }) || s.chance(3) {
			return s.destroyGroup()
		}
		return true
	case 6: // changes that serve nobody
		all := [][][]string{
			{{"MULTI"}, {"RPUSH", "a", "x"}, {"DEL", "a"}, {"EXEC"}},
			{{"EVAL", "redis.call('RPUSH', KEYS[1], 'x') redis.call('DEL', KEYS[1])", "1", "a"}},
			{{"SELECT", "3"}, {"RPUSH", "a", "x"}, {"DEL", "a"}, {"SELECT", "0"}},
			{{"SADD", "empty", "x"}, {"SREM", "empty", "x"}},
		}
		if pick := all[s.r.IntN(len(all))]; s.absent("a") {
			return s.apply(pick)
		}
		return true
	}
	return s.fill(key)
}

// holdsGroups reports whether commands wait for a group of the key, and the server would not tell them that the key is
// gone. Before 7.2 they stay blocked; respool reports it.
func (s *session) holdsGroups(key string) bool {
	return !s.version.Since(7, 2) && s.any(func(w *waiter) bool {
		return w.family == groups && (key == "" || w.waitsFor(key))
	})
}

// loses reports whether a key, or all of them, may disappear.
func (s *session) loses(key string) bool { return !s.holdsGroups(key) }

// apply runs commands on both servers and compares the replies of those that waited.
//
// Since 7.2, a command on several keys ends with an error if one has another type when another one receives data. respool
// has to see these changes in their order, so all keys must be watched again before the second one.
func (s *session) apply(lines [][]string) bool {
	if s.version.Since(7, 2) && s.any(s.meetsAnotherType()) && !s.watchesAll() {
		return false
	}
	return s.change(lines) && s.settle()
}

// meetsAnotherType returns whether a command waits for several keys, and one has another type.
func (s *session) meetsAnotherType() func(w *waiter) bool {
	var lines [][]string
	for _, key := range waitKeys {
		lines = append(lines, []string{"TYPE", key})
	}
	have := map[string]string{}
	for i, reply := range s.controls[0].all(lines) {
		have[waitKeys[i]] = strings.Trim(reply, "+\r\n")
	}
	return func(w *waiter) bool {
		return len(w.keys) > 1 && slices.ContainsFunc(w.keys, func(key string) bool {
			return have[key] != "none" && have[key] != w.typeName()
		})
	}
}

// watchesAll waits until the server tracks all keys that respool watches.
func (s *session) watchesAll() bool {
	for began := time.Now(); s.controls[1].info("stats", "tracking_total_items") < s.watched(); {
		if time.Since(began) > s.limit {
			return s.fail("respool does not watch all keys")
		}
	}
	return true
}

func (s *session) typeOf(key string) string {
	return strings.Trim(s.controls[0].ask("TYPE", key), "+\r\n")
}

func (s *session) absent(key string) bool { return s.typeOf(key) == "none" }

// expire changes the type of a key for a moment.
func (s *session) expire(key string) bool {
	if !s.loses(key) {
		return true
	}
	lines := [][]string{{"SET", key, "text"}, {"PEXPIRE", key, "1"}}
	switch {
	case !s.absent(key) && s.chance(2):
		lines = lines[1:]
	case s.any(func(w *waiter) bool { return w.family == groups && w.waitsFor(key) }):
		return true // since 7.2, a consumer sees the other type, however briefly
	}
	if !s.change(lines) {
		return false
	}
	for _, c := range s.controls {
		for began := time.Now(); c.ask("EXISTS", key) != ":0\r\n"; {
			if time.Since(began) > patience {
				return s.fail("%s does not expire", key)
			}
		}
	}
	return s.settle()
}

func (s *session) destroyGroup() bool {
	stream, group := s.one(streamKeys), s.one([]string{"g", "h"})
	if s.typeOf(stream) != "stream" || s.deleted && !s.version.Since(7, 2) {
		return true // before 7.2, the server then wakes all readers of a stream, even if it has deleted the new entries
	}
	meets := s.meetsAnotherType()
	if s.version.Since(7, 2) && s.any(func(w *waiter) bool { return w.family == streams && w.waitsFor(stream) && meets(w) }) {
		return true // since 7.2, the server then executes XREAD again, which fails without new entries
	}
	return s.apply(slices.Concat([][]string{{"XGROUP", "DESTROY", stream, group}}, nudge(stream))) &&
		s.apply([][]string{{"XGROUP", "CREATE", stream, group, "$"}})
}

// nudge returns commands that change keys in another database. The server does not report to respool that a group is
// destroyed or that databases are swapped, so respool looks at the keys after some 10 s. It looks at once after a change
// of a key with the same name.
func nudge(keys ...string) [][]string {
	lines := [][]string{{"SELECT", "9"}}
	for _, key := range keys {
		lines = append(lines, []string{"SET", key, "x"}, []string{"DEL", key})
	}
	return append(lines, []string{"SELECT", "0"})
}

// swap swaps databases.
func (s *session) swap(key string) bool {
	lines := [][]string{{"SELECT", "2"}, {"FLUSHDB"}}
	if fill := s.contents(key, 1, "k"); fill != nil {
		lines = append(append(lines, fill...), []string{"RENAME", "k", key})
	}
	return s.apply(slices.Concat(lines, [][]string{{"SWAPDB", "0", "2"}}, nudge(waitKeys...)))
}

// size is how many elements may arrive at once in a key, so that it is defined who gets which.
func (s *session) size(key string) int {
	left := s.waiting()
	for _, w := range left {
		if w.to == "" || !w.waitsFor(key) {
			continue
		}
		for _, v := range left {
			if v.family == lists && v.waitsFor(w.to) {
				return 1 // several elements would race on their next key
			}
		}
	}
	return 1 + s.r.IntN(5)
}

// contents returns commands that fill an absent key, to, with the type that commands wait for in key.
func (s *session) contents(key string, n int, to string) [][]string {
	switch {
	case slices.Contains(zsetKeys, key):
		return [][]string{append([]string{"ZADD", to}, s.scored(n)...)}
	case slices.Contains(streamKeys, key):
		return [][]string{{"XADD", to, s.nextID(), "f", s.element()}, {"XGROUP", "CREATE", to, "g", "0"}, {"XGROUP", "CREATE", to, "h", "0"}}
	}
	return [][]string{append([]string{"RPUSH", to}, s.elements(n)...)}
}

// fill puts data into a key, in one of many ways.
func (s *session) fill(key string) bool {
	n := s.size(key)
	if slices.Contains(streamKeys, key) && !s.chance(4) || s.holdsGroups(key) {
		return s.add(key)
	}
	if s.chance(2) {
		return s.push(key, n)
	}
	if !s.absent(key) {
		if !s.loses(key) || !s.apply([][]string{{"DEL", key}}) {
			return s.add(key)
		}
		n = s.size(key)
	}
	from := s.contents(key, n, "tmp")
	var lines [][]string
	switch s.r.IntN(6) {
	case 0:
		lines = append(from, []string{"RENAME", "tmp", key})
	case 1:
		lines = append([][]string{{"SELECT", "1"}}, s.contents(key, n, key)...)
		lines = append(lines, []string{"MOVE", key, "0"}, []string{"SELECT", "0"})
	case 2:
		if !s.version.Since(6, 2) {
			return true
		}
		lines = append(from, []string{"COPY", "tmp", key}, []string{"DEL", "tmp"})
	case 3:
		return s.restore(from, key)
	case 4:
		switch {
		case slices.Contains(listKeys, key):
			lines = append(from, []string{"SORT", "tmp", "BY", "nosort", "STORE", key}, []string{"DEL", "tmp"})
		case slices.Contains(zsetKeys, key):
			lines = append(from, []string{"ZUNIONSTORE", key, "1", "tmp"}, []string{"DEL", "tmp"})
		default:
			lines = append(from, []string{"RENAMENX", "tmp", key})
		}
	default:
		lines = append(from, []string{"MULTI"}, []string{"SET", key, "text"}, []string{"RENAME", "tmp", key}, []string{"EXEC"})
	}
	return s.apply(lines)
}

// restore fills a key with RESTORE.
func (s *session) restore(from [][]string, key string) bool {
	if !s.change(append([][]string{{"SELECT", "1"}}, from...)) {
		return false
	}
	dump := s.controls[0].ask("DUMP", "tmp")
	_, payload, _ := strings.Cut(dump, "\r\n")
	payload = strings.TrimSuffix(payload, "\r\n")
	return s.apply([][]string{{"DEL", "tmp"}, {"SELECT", "0"}, {"RESTORE", key, "0", payload}})
}

// push adds elements to a key as clients usually do.
func (s *session) push(key string, n int) bool {
	line := s.addLine(key, n)
	if line == nil {
		return true
	}
	switch s.r.IntN(4) {
	case 0:
		return s.apply([][]string{{"MULTI"}, line, {"EXEC"}})
	case 1:
		script := append([]string{"EVAL", "return redis.call(unpack(ARGV))", "1", key}, line...)
		return s.apply([][]string{script})
	}
	return s.apply([][]string{line})
}

// add adds one element.
func (s *session) add(key string) bool {
	if line := s.addLine(key, 1); line != nil {
		return s.apply([][]string{line})
	}
	return true
}

func (s *session) addLine(key string, n int) []string {
	switch {
	case slices.Contains(zsetKeys, key):
		return append([]string{"ZADD", key}, s.scored(n)...)
	case slices.Contains(streamKeys, key):
		return []string{"XADD", key, s.nextID(), "f", s.element()}
	}
	return append([]string{s.one([]string{"RPUSH", "LPUSH"}), key}, s.elements(n)...)
}

// finish ends a command that waits: it provides the data that it waits for.
func (s *session) finish(w *waiter) bool {
	key := w.keys[0]
	if have := s.typeOf(key); have != w.typeName() && have != "none" {
		if !s.apply([][]string{{"DEL", key}}) {
			return false
		}
	}
	var line []string
	switch w.family {
	case zsets:
		line = append([]string{"ZADD", key}, s.scored(1)...)
	case lists:
		line = append([]string{"RPUSH", key}, s.elements(1)...)
	default:
		s.id += 2
		line = []string{"XADD", key, fmt.Sprintf("%d-1", s.id), "f", "v"}
	}
	return s.apply([][]string{line})
}
