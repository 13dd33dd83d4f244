// Package fakeserver plays a server of a named version, for what no real one does on demand: the
// words and the habits of versions that are not installed, a HELLO that is refused or ignored, a
// reply that is dropped, doubled or swapped. It serves a port, a unix socket, TLS, or
// connections in memory, which work in a synctest bubble. For how commands behave, ask a real
// server: see redistest.
//
// It judges the client from outside, so it uses none of the project's own packages. Each
// connection has a goroutine, which the server's Close waits for.
package fakeserver
