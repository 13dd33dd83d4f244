package blocking

import "strconv"

// commands builds the non-blocking commands of forms for one server.
type commands struct {
	noMPop  bool // the server lacks LMPOP and ZMPOP: before Redis 7.0
	noCount bool // LPOP and RPOP take no count: before Redis 6.2
}

// batches reports whether one command can take from several keys.
func (c *commands) batches(f *Form) bool {
	switch f.kind {
	case listPop, zsetPop:
		return !c.noMPop
	}
	return true
}

// most returns how many waiters one command for a form may serve.
func (c *commands) most(f *Form) int {
	if !f.countable() || f.kind == listPop && c.noCount {
		return 1
	}
	return maxRun
}

// take returns the command that takes up to n elements from the first of the keys that has data, or reads all of these
// keys.
func (c *commands) take(f *Form, keys [][]byte, n int) [][]byte {
	switch f.kind {
	case listMove:
		name := "LMOVE"
		if len(f.args) == 2 {
			name = "RPOPLPUSH"
		}
		return append([][]byte{[]byte(name)}, f.args...)
	case read, groupRead:
		return f.readOf(keys)
	case listMPop, zsetMPop:
		return mpop(f, keys, f.count)
	}
	if len(keys) > 1 {
		return mpop(f, keys, n)
	}
	name := [2][2]string{{"LPOP", "RPOP"}, {"ZPOPMIN", "ZPOPMAX"}}[index(f.zset())][f.end]
	args := make([][]byte, 2, 3)
	args[0], args[1] = []byte(name), keys[0]
	if n > 1 {
		args = append(args, strconv.AppendInt(nil, int64(n), 10))
	}
	return args
}

func index(second bool) int {
	if second {
		return 1
	}
	return 0
}

func mpop(f *Form, keys [][]byte, n int) [][]byte {
	names := [2]string{"LMPOP", "ZMPOP"}
	ends := [2][2]string{{"LEFT", "RIGHT"}, {"MIN", "MAX"}}
	z := index(f.zset())
	args := make([][]byte, 0, len(keys)+5)
	args = append(args, []byte(names[z]), strconv.AppendInt(nil, int64(len(keys)), 10))
	args = append(args, keys...)
	args = append(args, []byte(ends[z][f.end]))
	if n > 1 {
		args = append(args, []byte("COUNT"), strconv.AppendInt(nil, int64(n), 10))
	}
	return args
}

// readOf returns the command that reads those streams of f that are in keys.
func (f *Form) readOf(keys [][]byte) [][]byte {
	args := make([][]byte, 0, len(f.args)+1)
	args = append(args, []byte(f.info.Name))
	if len(keys) == int(f.nkeys) {
		return append(args, f.args...)
	}
	args = append(args, f.args[:f.from]...)
	for _, half := range [2]int{0, int(f.nkeys)} {
		for i, key := range f.Keys() {
			if containsKey(keys, key) {
				args = append(args, f.args[int(f.from)+half+i])
			}
		}
	}
	return args
}

// giveBack returns the command that puts elements back to where f took them from. The items are raw frames: elements
// of a list, or members and scores in turn.
func giveBack(f *Form, key []byte, items [][]byte) ([][]byte, error) {
	args := make([][]byte, 0, len(items)+3)
	if f.zset() {
		args = append(args, []byte("ZADD"), key, []byte("NX"))
		for i := 0; i+1 < len(items); i += 2 {
			member, err := bulk(items[i])
			if err != nil {
				return nil, err
			}
			score, err := number(items[i+1])
			if err != nil {
				return nil, err
			}
			args = append(args, score, member)
		}
		return args, nil
	}
	args = append(args, []byte([2]string{"LPUSH", "RPUSH"}[f.end]), key)
	for i := len(items) - 1; i >= 0; i-- { // the element that was taken last goes back first
		text, err := bulk(items[i])
		if err != nil {
			return nil, err
		}
		args = append(args, text)
	}
	return args, nil
}

// unresolved returns the index in args of the first ID of XREAD that is $, and the key that it belongs to.
func (f *Form) unresolved() (at int, key []byte, ok bool) {
	if f.kind != read {
		return 0, nil, false
	}
	for i, key := range f.Keys() {
		at := int(f.from) + int(f.nkeys) + i
		if string(f.args[at]) == "$" {
			return at, key, true
		}
	}
	return 0, nil, false
}

// lastEntry returns the command that reads the last entry of a stream. The last ID ever generated may be higher, if
// the server has deleted entries. There is no entry between the two, so XREAD replies the same for both.
func lastEntry(key []byte) [][]byte {
	return [][]byte{[]byte("XREVRANGE"), key, []byte("+"), []byte("-"), []byte("COUNT"), []byte("1")}
}

// length returns the command that finds out whether a key has data for f.
func length(f *Form, key []byte) [][]byte {
	return [][]byte{[]byte([2]string{"LLEN", "ZCARD"}[index(f.zset())]), key}
}
