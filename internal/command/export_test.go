package command

import (
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// ReadEntries reads all that a reply to COMMAND tells, the table's commands too, by name.
func ReadEntries(reply []byte) map[string]*Info {
	all := map[string]*Info{}
	v, _, err := resp.Decode(reply)
	if err != nil {
		return nil
	}
	for _, e := range v.Elems {
		info := readEntry(strings.ToUpper(nameOf(e)), e)
		if info == nil {
			continue
		}
		all[info.Name] = info
		for i := range info.subs {
			all[info.subs[i].Name] = &info.subs[i]
		}
	}
	return all
}
