package command

// Classify finds the command that args name and says what it needs of its connection.
// Where the subcommand or an option matters, it is looked at: XREAD without BLOCK is
// [Multiplexed]. Of args only texts are looked at. info is nil if and only if class is
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

// argumentsMatter is whether the name alone does not tell the class.
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

// blockOption is where the milliseconds of the BLOCK option of XREAD or XREADGROUP
// stand, and 0 without that option. The arguments of other options may be spelled alike,
// so they are stepped over as servers do; the last BLOCK counts.
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
