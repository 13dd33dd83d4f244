package command

// KeySpec says where some of a command's keys stand among its arguments, the command
// itself being argument 0.
type KeySpec struct {
	// Keyword, if any, is an argument in upper case that stands before the first key.
	Keyword string
	// Begin is the first key's index, or without fixed place, the index from which
	// Keyword is searched: upwards, or if Begin is negative, downwards from that many
	// arguments before the end.
	Begin int8
	// Counted is whether Begin holds the number of keys, which follow it, rather than
	// the first key.
	Counted bool
	// Optional is whether an empty key at Begin means that keys stand elsewhere.
	Optional bool
	// Last is the last key's distance from the first, or if negative, from the end of
	// the arguments: -1 is the last one. It has no meaning for counted keys.
	Last int8
	// Step is the distance from a key to the next.
	Step int8
	// Limit, if above 1 and Last is -1, divides the arguments from the first key on:
	// keys fill the first of so many parts.
	Limit int8
}

// FirstKey finds the first key, or channel of a shard, by which a command is routed. ok is
// false for a command without, which includes a script that is given none. info may be
// nil.
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

// find returns the index of a keyword, or -1. It starts at begin and goes up; from a negative
// begin, which counts from the end, it goes down.
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
