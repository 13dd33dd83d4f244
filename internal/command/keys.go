package command

// KeySpec describes the positions of some of a command's keys among its arguments. The command itself is argument 0.
type KeySpec struct {
	// Keyword, if not empty, is an argument in upper case that precedes the first key.
	Keyword string
	// Begin is the index of the first key, or with Keyword, the index where the search for Keyword starts: upwards,
	// or if Begin is negative, downwards from that many arguments before the end.
	Begin int8
	// Counted: the argument at Begin is the number of keys, and the keys follow it.
	Counted bool
	// Optional: an empty key at Begin means that the keys are elsewhere.
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

// FirstKey returns the index of the first key or shard channel, by which a command is routed. ok is false for a
// command without one, including a script without keys. info may be nil.
func FirstKey(info *Info, args []any) (index int, ok bool) {
	if info == nil {
		return 0, false
	}
	for i := range info.Keys {
		if index, ok := info.Keys[i].first(arguments{values: args}); ok {
			return index, true
		}
	}
	return 0, false
}

func (spec *KeySpec) first(args arguments) (int, bool) {
	index := int(spec.Begin)
	switch {
	case spec.Keyword != "":
		if index = find(args, spec.Keyword, index); index < 0 {
			return 0, false
		}
		index++
	case spec.Counted:
		if index >= args.len() {
			return 0, false
		}
		if n, ok := args.integer(index); !ok || n < 1 {
			return 0, false
		}
		index++
	}
	if index >= args.len() || spec.Optional && args.is(index, "") {
		return 0, false
	}
	return index, true
}

// find returns the index of a keyword, or -1. It searches upwards from begin. If begin is negative it counts from the
// end, and the search goes downwards.
func find(args arguments, keyword string, begin int) int {
	step := 1
	if begin < 0 {
		begin, step = args.len()+begin, -1
	}
	for i := begin; i > 0 && i < args.len(); i += step {
		if args.is(i, keyword) {
			return i
		}
	}
	return -1
}
