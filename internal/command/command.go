// Package command knows the commands of Redis and Valkey: what each needs of the
// connection that carries it, what it leaves behind there, where its keys stand and how
// long it may block.
//
// The table is generated from commands.json, corrected by gen/overrides.go, and is
// constant: looking up does no work at start-up, takes no lock and never allocates. The
// package does no I/O and has no goroutines. A command that it does not know is not an
// error: servers have modules and newer versions, and the caller asks them.
package command

import "iter"

//go:generate go run ./gen

// Class says which kind of connection a command needs.
type Class uint8

const (
	// Unknown is a command that the table lacks. Nothing is known about what it does
	// to its connection.
	Unknown Class = iota
	// Multiplexed commands may share a connection with those of other callers.
	Multiplexed
	// Blocking commands hold back every later reply of their connection, and so need
	// one of their own until they have answered.
	Blocking
	// Stateful commands change the state of their connection or depend on it. They
	// have a meaning only on a connection that their caller holds.
	Stateful
	// Refused commands turn their connection into something other than requests and
	// replies. No connection of a pool may carry them.
	Refused
)

func (c Class) String() string {
	switch c {
	case Multiplexed:
		return "multiplexed"
	case Blocking:
		return "blocking"
	case Stateful:
		return "stateful"
	case Refused:
		return "refused"
	}
	return "unknown"
}

// Effect says what a command leaves behind on its connection once it has succeeded. A
// command that is queued by MULTI has its effect at EXEC.
type Effect uint8

const (
	// EffectNone leaves nothing behind.
	EffectNone Effect = iota
	// EffectWatch adds watched keys.
	EffectWatch
	// EffectUnwatch forgets the watched keys.
	EffectUnwatch
	// EffectMulti opens a transaction.
	EffectMulti
	// EffectEndMulti ends the transaction and forgets the watched keys.
	EffectEndMulti
	// EffectSelect chooses the database that the command's argument names.
	EffectSelect
	// EffectTaint is any other change. The connection is never clean again.
	EffectTaint
)

func (e Effect) String() string {
	switch e {
	case EffectWatch:
		return "watch"
	case EffectUnwatch:
		return "unwatch"
	case EffectMulti:
		return "multi"
	case EffectEndMulti:
		return "end multi"
	case EffectSelect:
		return "select"
	case EffectTaint:
		return "taint"
	}
	return "none"
}

// Info is what is known about one command or subcommand. Infos are shared by everybody:
// nobody changes one.
type Info struct {
	// Name is in upper case. A subcommand's holds its container's: "CLIENT LIST".
	Name string
	// Use says what to do instead of sending a Stateful or Refused command on a
	// shared connection, as the end of an error's text: "use Client.Subscribe".
	Use string
	// Keys says where keys, or the channels of shards, stand. It is empty for commands without.
	Keys []KeySpec
	// Arity counts the arguments, the name and the subcommand among them; a negative
	// arity is a minimum.
	Arity int
	// Class is the command's in its most demanding form; [Classify] looks at the
	// arguments too.
	Class  Class
	Effect Effect
	// ReadOnly commands change nothing that anybody sees: sending one twice is safe.
	ReadOnly bool
	// Write commands may change the keyspace or the functions. Scripts may write
	// without being Write, as may subcommands that the table lacks.
	Write bool
	// Admin commands belong to the server's operator.
	Admin bool
	// NoMulti commands are refused by servers between MULTI and EXEC.
	NoMulti bool
	// Movable is whether finding all keys takes more than fixed positions.
	Movable bool

	timeout timeout
	subs    []Info
}

// Container is whether the command is one of subcommands, such as CLIENT.
func (i *Info) Container() bool { return len(i.subs) > 0 }

// All yields every command, each container before its subcommands.
func All() iter.Seq[*Info] {
	return func(yield func(*Info) bool) {
		for i := range table {
			if !yield(&table[i]) {
				return
			}
			for j := range table[i].subs {
				if !yield(&table[i].subs[j]) {
					return
				}
			}
		}
	}
}
