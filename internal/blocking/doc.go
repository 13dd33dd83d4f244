// Package blocking holds the waits of blocking commands, so that a wait needs no connection of its own. It sends a
// blocking command in its non-blocking form. If there is no data, the command waits here, and the package sends the
// form again when one of the keys may have changed.
//
// The package consists of three layers:
//
//   - [Form] is a blocking command as data: its keys, its timeout, its non-blocking commands, and the conversion of
//     their replies to the reply of the blocking command. It has no state.
//   - core keeps the queues, the attempts in flight and the deadlines. It has no goroutines, no clock and no I/O.
//   - [Waits] drives the core of one node. It sends attempts through a [Sender], watches keys through a [Watcher] and
//     owns one timer for all waits. It starts no goroutines.
//
// The package is not for WAIT and WAITAOF, nor for commands inside MULTI, where nothing blocks.
package blocking
