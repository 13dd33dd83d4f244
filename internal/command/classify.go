package command

// Classify returns the command that args name and its class. It checks subcommands and options that change the class:
// XREAD without BLOCK is [Multiplexed]. It reads only arguments that are texts. info is nil if and only if class is
// [Unknown].
func Classify(args []any) (info *Info, class Class) {
	if len(args) > 0 {
		info = lookupValue(args[0])
	}
	if info == nil || !info.argumentsMatter() {
		return classOf(info)
	}
	return classify(info, arguments{values: args})
}

// ClassifyBytes is [Classify] for arguments in bytes.
func ClassifyBytes(args [][]byte) (info *Info, class Class) {
	if len(args) > 0 {
		info = LookupBytes(args[0])
	}
	if info == nil || !info.argumentsMatter() {
		return classOf(info)
	}
	return classify(info, arguments{raw: args})
}

func classOf(info *Info) (*Info, Class) {
	if info == nil {
		return nil, Unknown
	}
	return info, info.Class
}

// argumentsMatter reports whether the class depends on more than the name.
func (i *Info) argumentsMatter() bool { return len(i.subs) > 0 || i.timeout == blockMillis }

func classify(info *Info, args arguments) (*Info, Class) {
	if len(info.subs) > 0 && args.len() > 1 {
		info = args.sub(info)
	}
	if info.timeout == blockMillis && blockOption(args) == 0 {
		return info, Multiplexed
	}
	return info, info.Class
}

// blockOption returns the index of the milliseconds of the BLOCK option of XREAD or XREADGROUP, and 0 without that
// option. Arguments of other options may have the same text, so it skips them like the server; the last BLOCK counts.
func blockOption(args arguments) (index int) {
	for i := 1; i < args.len()-1; i++ {
		switch {
		case args.option(i, "STREAMS"):
			return index
		case args.option(i, "BLOCK"):
			i++
			index = i
		case args.option(i, "COUNT"):
			i++
		case args.option(i, "GROUP"):
			i += 2
		}
	}
	return index
}
