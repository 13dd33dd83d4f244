package command

import "slices"

// FromFlags makes the Info of a command that the table lacks from what COMMAND
// INFO tells of it: its flags and its ACL categories. A command that concerns
// the connection, or neither reads nor writes data, stays Unknown, since its effect
// can't be told: MULTI and MONITOR under another name have no flag that says so.
func FromFlags(name string, flags, categories []string) *Info {
	info := &Info{
		Name: name, Class: Multiplexed,
		ReadOnly: slices.Contains(flags, "readonly"),
		Write:    slices.Contains(flags, "write"),
		Admin:    slices.Contains(flags, "admin"),
		NoMulti:  slices.Contains(flags, "no_multi"),
	}
	switch {
	case !info.ReadOnly && !info.Write, slices.Contains(categories, "@connection"):
		info.Class, info.Effect = Unknown, EffectTaint
	case slices.Contains(flags, "blocking"):
		info.Class = Blocking
	}
	return info
}
