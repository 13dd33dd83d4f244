package command

import (
	"fmt"
	"maps"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Vocabulary is a server's description of commands, and of subcommands of known containers, that the table lacks. It
// is immutable. The nil Vocabulary is empty.
type Vocabulary struct {
	infos map[string]*Info // subcommands of the table's containers have their own entries: "XINFO NEW"
}

// Known is the state of a command that the table lacks.
type Known uint8

const (
	// NotAsked: the server must be queried first.
	NotAsked Known = iota
	// Hidden: the server does not describe it, because the user has no permission to query.
	Hidden
	// Absent: the server lacks it.
	Absent
	// Learned: there is an Info.
	Learned
)

func (k Known) String() string { return [...]string{"not asked", "hidden", "absent", "learned"}[k] }

// ReadVocabulary parses the reply to COMMAND. It ignores invalid entries, and entries beyond the limits.
func ReadVocabulary(reply []byte) (*Vocabulary, error) {
	if len(reply) > maxReply {
		return nil, fmt.Errorf("command: the reply to COMMAND has %d bytes: want %d at most", len(reply), maxReply)
	}
	entries, err := resp.Elements(reply)
	if err != nil {
		return nil, fmt.Errorf("command: read the reply to COMMAND: %w", err)
	}
	v := &Vocabulary{infos: map[string]*Info{}}
	for _, entry := range entries {
		v.read(entry)
	}
	return v, nil
}

// read adds an entry if it is new.
func (v *Vocabulary) read(entry []byte) {
	fields, err := resp.Elements(entry)
	if err != nil || len(fields) == 0 || len(entry) > maxEntry {
		return
	}
	text, ok := resp.StringOf(fields[entryName])
	name := strings.ToUpper(string(text))
	listed := Lookup(name)
	if !ok || !nameable(name) || listed != nil && !listed.Container() {
		return
	}
	decoded, _, err := resp.Decode(entry)
	if err != nil {
		return
	}
	info := readEntry(name, decoded)
	switch {
	case info == nil:
	case listed == nil:
		v.add(info)
	default:
		for i := range info.subs {
			if sub := &info.subs[i]; LookupSub(name, sub.Name[len(name)+1:]) == listed {
				v.add(sub)
			}
		}
	}
}

func (v *Vocabulary) add(info *Info) {
	if len(v.infos) < maxCommands {
		v.infos[info.Name] = info
	}
}

// With returns a vocabulary with one more command. info is the one of ReadInfo.
func (v *Vocabulary) With(info *Info) *Vocabulary {
	more := &Vocabulary{infos: map[string]*Info{}}
	if v != nil {
		maps.Copy(more.infos, v.infos)
	}
	more.add(info)
	return more
}

// Has reports whether the vocabulary contains a command, or a subcommand of one of the table's containers, by the
// name of QueryName.
func (v *Vocabulary) Has(name string) bool {
	return v != nil && v.infos[strings.Replace(name, "|", " ", 1)] != nil
}

// Len returns the number of commands, without subcommands of its own containers.
func (v *Vocabulary) Len() int {
	if v == nil {
		return 0
	}
	return len(v.infos)
}

// Find returns the command that args name if the table lacks it and the vocabulary contains it, else nil. A
// subcommand that a container lacks counts as the container.
func (v *Vocabulary) Find(args []any) *Info { return v.find(arguments{values: args}) }

// FindBytes is [Vocabulary.Find] for arguments in bytes.
func (v *Vocabulary) FindBytes(args [][]byte) *Info { return v.find(arguments{raw: args}) }

func (v *Vocabulary) find(args arguments) *Info {
	if v == nil {
		return nil
	}
	var room [2*MaxName + 1]byte
	name, ok := queryName(room[:0], args, ' ')
	if !ok {
		return nil
	}
	info := v.infos[string(name)]
	if info != nil && len(info.subs) > 0 && args.len() > 1 {
		return args.sub(info)
	}
	return info
}

// QueryName returns the name for a query about the command that args name: its name in upper case, with the
// subcommand if the table has the container: "XINFO|NEW". ok is false for a command in the table, and for an
// impossible name.
func QueryName(args []any) (name string, ok bool) { return asString(arguments{values: args}) }

// QueryNameBytes is [QueryName] for arguments in bytes.
func QueryNameBytes(args [][]byte) (name string, ok bool) { return asString(arguments{raw: args}) }

func asString(args arguments) (string, bool) {
	name, ok := queryName(nil, args, '|')
	return string(name), ok
}

// queryName appends the name to dst, with a separator before a subcommand.
func queryName(dst []byte, args arguments, separator byte) (name []byte, ok bool) {
	if args.len() == 0 {
		return nil, false
	}
	listed := args.lookup()
	if listed != nil && (!listed.Container() || args.len() < 2 || args.sub(listed) != listed) {
		return nil, false
	}
	if dst, ok = args.appendName(dst, 0); !ok || listed == nil {
		return dst, ok
	}
	return args.appendName(append(dst, separator), 1)
}
