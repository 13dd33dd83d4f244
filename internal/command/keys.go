package command

// KeySpec describes the positions of some of a command's keys among its arguments. The command itself is argument 0.
type KeySpec struct {
	// Keyword, if not empty, is an argument in upper case that precedes the first key. Without it there are no keys.
	Keyword string
	// Begin is the index of the first key, or with Keyword, the index where the search for Keyword starts: upwards,
	// or if Begin is negative, downwards from that many arguments before the end.
	Begin int8
	// Counted: the argument at Begin is the number of keys, and the keys follow it.
	Counted bool
	// Optional: a Counted number of keys may be 0.
	Optional bool
	// Last is the distance of the last key from the first, or if negative, from the end of the arguments: -1 is the
	// last argument. It does not apply to counted keys.
	Last int8
	// Step is the distance from a key to the next.
	Step int8
	// Limit, if above 1 and Last is -1, divides the arguments from the first key on into that many parts: keys fill
	// the first part.
	Limit int8
}

// KeysOf appends to dst the indexes of the arguments by which servers of a cluster route a command: its keys, or its
// shard channels. They are those of COMMAND GETKEYS in its order, except that of several destinations of one command,
// such as GEORADIUS with STORE and STOREDIST, only the last counts, and that an option's value never counts as a
// keyword. DEBUG OBJECT and its like have a key too, although no server redirects them.
//
// args contains the command itself; info is the one of [Classify] or [Vocabulary.Find]. A known command without keys
// has none, and ok is true. ok is false, and nothing is appended, if a server can only reply with an error to these
// arguments; every node does so. It is also false if info is nil.
func KeysOf(info *Info, args []any, dst []int) (indexes []int, ok bool) {
	return keysOf(info, arguments{values: args}, dst)
}

// KeysOfBytes is [KeysOf] for arguments in bytes.
func KeysOfBytes(info *Info, args [][]byte, dst []int) (indexes []int, ok bool) {
	return keysOf(info, arguments{raw: args}, dst)
}

func keysOf(info *Info, args arguments, dst []int) ([]int, bool) {
	if info == nil || !info.accepts(args.len()) {
		return dst, false
	}
	switch info.finder {
	case sortKeys:
		return appendSortKeys(dst, args), true
	case geoKeys:
		return appendGeoKeys(dst, args), true
	case migrateKeys:
		return appendMigrateKeys(dst, args)
	case streamKeys:
		return appendStreamKeys(dst, args)
	case debugKeys:
		return appendDebugKeys(dst, args), true
	}
	from := len(dst)
	for i := range info.Keys {
		var ok bool
		if dst, ok = info.Keys[i].appendKeys(dst, args); !ok {
			return dst[:from], false
		}
	}
	return dst, true
}

// accepts reports whether the command's arity allows n arguments.
func (i *Info) accepts(n int) bool {
	if i.Arity > 0 {
		return n == i.Arity
	}
	return n >= -i.Arity && n > 0
}

// fixedKey returns the index of the command's key, if it has a single one at a fixed index, else 0.
func (i *Info) fixedKey() int {
	if len(i.Keys) != 1 || i.finder != bySpecs {
		return 0
	}
	if s := &i.Keys[0]; s.Last == 0 && !s.Counted && s.Keyword == "" {
		return int(s.Begin)
	}
	return 0
}

func (s *KeySpec) appendKeys(dst []int, args arguments) ([]int, bool) {
	n, step := args.len(), int(s.Step)
	first := s.first(args)
	if first == 0 {
		return dst, true
	}
	last := first + int(s.Last)
	switch {
	case s.Counted:
		count, ok := args.count(first)
		if !ok {
			return dst, false
		}
		if count == 0 {
			return dst, s.Optional
		}
		first++
		last = first + (count-1)*step
	case s.Last < 0 && s.Limit > 1:
		last = first + (n-first)/int(s.Limit) - 1
	case s.Last < 0:
		last = n + int(s.Last)
		if last == first-1 {
			return dst, true // the list is empty, and the arity allows that
		}
	}
	if last < first || last >= n {
		return dst, false
	}
	for i := first; i <= last; i += step {
		dst = append(dst, i)
	}
	return dst, true
}

// first returns the index of the first key, or of the number of keys. It returns 0 if the keyword is missing.
func (s *KeySpec) first(args arguments) int {
	if s.Keyword == "" {
		return int(s.Begin)
	}
	i, end, step := int(s.Begin), args.len()-1, 1
	if i < 0 {
		i, end, step = args.len()+i, 1, -1
	}
	for ; i != end && i > 0 && i < args.len(); i += step {
		if args.option(i, s.Keyword) {
			return i + 1
		}
	}
	return 0
}

// finder names the way to the keys of a command.
type finder uint8

const (
	bySpecs finder = iota
	sortKeys
	geoKeys
	migrateKeys
	streamKeys
	debugKeys
)

// The functions below read the options like the functions of the servers that route the commands. Those are less
// strict than the commands themselves: some invalid arguments have keys too.

// appendSortKeys finds the keys of SORT: the first argument and the last STORE. The patterns of BY and GET are not
// keys.
func appendSortKeys(dst []int, args arguments) []int {
	dst = append(dst, 1)
	store := 0
	for i := 2; i < args.len(); i++ {
		switch {
		case args.option(i, "LIMIT"):
			i += 2
		case args.option(i, "GET"), args.option(i, "BY"):
			i++
		case i+1 < args.len() && args.option(i, "STORE"):
			store = i + 1 // servers look for options at this index too
		}
	}
	if store > 0 {
		dst = append(dst, store)
	}
	return dst
}

// appendGeoKeys finds the keys of GEORADIUS and GEORADIUSBYMEMBER: the first argument and the last destination.
func appendGeoKeys(dst []int, args arguments) []int {
	dst = append(dst, 1)
	store := 0
	for i := 5; i+1 < args.len(); i++ {
		if args.option(i, "STORE") || args.option(i, "STOREDIST") {
			i++
			store = i
		}
	}
	if store > 0 {
		dst = append(dst, store)
	}
	return dst
}

// appendMigrateKeys finds the keys of MIGRATE: argument 3, or if that is empty, the arguments after KEYS.
func appendMigrateKeys(dst []int, args arguments) ([]int, bool) {
	for i := 6; i < args.len(); i++ {
		switch {
		case args.option(i, "KEYS"):
			if !args.empty(3) {
				return dst, false
			}
			for i++; i < args.len(); i++ {
				dst = append(dst, i)
			}
			return dst, true
		case args.option(i, "AUTH"):
			i++
		case args.option(i, "AUTH2"):
			i += 2
		}
	}
	return append(dst, 3), true
}

// appendStreamKeys finds the keys of XREAD and XREADGROUP: the first half of the arguments after STREAMS.
func appendStreamKeys(dst []int, args arguments) ([]int, bool) {
	for i := 1; i < args.len(); i++ {
		switch {
		case args.option(i, "STREAMS"):
			n := args.len() - i - 1
			if n == 0 || n%2 != 0 {
				return dst, false
			}
			for k := range n / 2 {
				dst = append(dst, i+1+k)
			}
			return dst, true
		case args.option(i, "BLOCK"), args.option(i, "COUNT"), args.option(i, "CLAIM"):
			i++
		case args.option(i, "GROUP"):
			i += 2
		case args.option(i, "NOACK"):
		default:
			return dst, false
		}
	}
	return dst, false
}

// appendDebugKeys finds the key of the subcommands of DEBUG that describe one. Servers do not redirect them.
func appendDebugKeys(dst []int, args arguments) []int {
	if args.len() < 3 {
		return dst
	}
	for _, sub := range [...]string{"OBJECT", "LISTPACK", "ZIPLIST", "SDSLEN", "HTSTATS-KEY"} {
		if args.option(1, sub) {
			return append(dst, 2)
		}
	}
	if args.option(1, "DIGEST-VALUE") {
		for i := 2; i < args.len(); i++ {
			dst = append(dst, i)
		}
	}
	return dst
}
