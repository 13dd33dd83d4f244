// Package command describes the commands of Redis and Valkey: the class of connection that each needs, its effect on
// the connection, the positions of its keys, how long it may block, and how a cluster routes it.
//
// The table is generated from commands.json, corrected by gen/overrides.go, and constant. Lookups do no work at
// start-up, take no locks and do not allocate. The package does no I/O and has no goroutines. An unknown command is
// not an error: servers have modules and newer versions, and the caller queries them.
package command

import "iter"

//go:generate go run ./gen

// DefaultUser is the user of a connection that does not authenticate, and of AUTH without a user name.
const DefaultUser = "default"

// Class is the kind of connection that a command needs.
type Class uint8

const (
	// Unknown is a command that the table lacks. Its effect on the connection is unknown.
	Unknown Class = iota
	// Multiplexed commands may share a connection with commands of other callers.
	Multiplexed
	// Blocking commands delay every later reply of their connection. They need a dedicated connection until their
	// reply.
	Blocking
	// Stateful commands change the state of their connection or depend on it. They are useful only on a connection
	// that their caller holds.
	Stateful
	// Refused commands switch their connection to another mode than requests and replies. No connection of a pool may
	// carry them.
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

// Effect is the effect of a successful command on its connection. A command that is queued by MULTI has its effect at
// EXEC.
type Effect uint8

const (
	// EffectNone is no effect.
	EffectNone Effect = iota
	// EffectWatch adds watched keys.
	EffectWatch
	// EffectUnwatch removes the watched keys.
	EffectUnwatch
	// EffectMulti begins a transaction.
	EffectMulti
	// EffectEndMulti ends the transaction and removes the watched keys.
	EffectEndMulti
	// EffectSelect selects the database that the command's argument names.
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

// Info describes one command or subcommand. All callers share it; it must not be changed.
type Info struct {
	// Name is in upper case. A subcommand's name includes its container: "CLIENT LIST".
	Name string
	// Use names the alternative to a Stateful or Refused command on a shared connection, as the end of an error: "use
	// Client.Subscribe".
	Use string
	// Keys describes the positions of keys, or of shard channels. It is empty for commands without keys. [KeysOf]
	// finds them.
	Keys []KeySpec
	// Arity is the number of arguments, including the name and the subcommand; a negative arity is a minimum.
	Arity int
	// Class is the class of the most demanding form. [Classify] also checks the arguments.
	Class  Class
	Effect Effect
	// ReadOnly commands change no data: resending one is safe.
	ReadOnly bool
	// Write commands may change the keyspace or the functions. Scripts without Write may write too, as may
	// subcommands that the table lacks.
	Write bool
	// Admin commands are for the server's operator.
	Admin bool
	// NoMulti commands are refused by servers between MULTI and EXEC.
	NoMulti bool
	// Movable: the positions of the keys depend on the arguments.
	Movable bool
	// Incomplete: the server, which described the command, knows of more keys than Keys. COMMAND GETKEYS finds all.
	Incomplete bool
	// Request says which nodes of a cluster the command is for, and Reply how their replies become one.
	Request RequestPolicy
	Reply   ReplyPolicy

	finder  finder
	timeout timeout
	subs    []Info
}

// Container reports whether the command consists of subcommands, such as CLIENT.
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
