package command

// Lookup returns a command by its name in any case, or nil if the table lacks it. For subcommands see [LookupSub].
func Lookup(name string) *Info {
	var upper [longest]byte
	if len(name) > len(upper) {
		return nil
	}
	for i := range len(name) {
		upper[i] = toUpper(name[i])
	}
	return at(position(upper[:len(name)]))
}

// LookupBytes is [Lookup] for a name in bytes.
func LookupBytes(name []byte) *Info {
	var upper [longest]byte
	if len(name) > len(upper) {
		return nil
	}
	for i, c := range name {
		upper[i] = toUpper(c)
	}
	return at(position(upper[:len(name)]))
}

// lookupValue is [Lookup] for a name of any type that reaches the server as text.
func lookupValue(name any) *Info {
	switch v := name.(type) {
	case string:
		return Lookup(v)
	case []byte:
		return LookupBytes(v)
	}
	s, _ := named(name)
	return Lookup(s)
}

func at(position int) *Info {
	if position < 0 {
		return nil
	}
	return &table[position]
}

// LookupSub returns a subcommand, such as LIST of CLIENT. It returns the container for a subcommand that the table
// lacks, the command itself if it has no subcommands, and nil for an unknown name.
func LookupSub(name, sub string) *Info {
	container := Lookup(name)
	if container == nil {
		return nil
	}
	prefix := len(container.Name) + len(" ")
	for i := range container.subs {
		if info := &container.subs[i]; equalFold(sub, info.Name[prefix:]) {
			return info
		}
	}
	return container
}

func equalFold(s, upper string) bool {
	if len(s) != len(upper) {
		return false
	}
	for i := range len(s) {
		if toUpper(s[i]) != upper[i] {
			return false
		}
	}
	return true
}

func equalFoldBytes(b []byte, upper string) bool {
	if len(b) != len(upper) {
		return false
	}
	for i, c := range b {
		if toUpper(c) != upper[i] {
			return false
		}
	}
	return true
}

func toUpper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}
