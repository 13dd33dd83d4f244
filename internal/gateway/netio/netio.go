// Package netio moves bytes between the gateway and its clients: it accepts connections, reads requests from them and
// writes replies to them. Three kinds of links do that: event loops serve plain TCP and unix sockets (Linux only),
// goroutines serve all other connections, such as TLS, and a connection in memory runs on the goroutine of its user.
//
// The package is not for the protocol: it neither parses requests nor knows what a reply means, and it decides about no
// client. The gateway does, behind the interfaces Host and Client.
//
// A Server owns its accept loops and its event loops, and Close waits for them. Every other goroutine serves one client
// and runs through Host.Go: the gateway waits for those.
package netio

import (
	"context"
	"log/slog"
	"time"
)

// Host is the gateway, as a Server sees it. All methods are safe for concurrent use.
type Host interface {
	// Admit makes a client of a connection and calls Output.Init for it. It returns nil and an error reply if it
	// refuses the connection; during the shutdown the reply is empty. loop is the number of the event loop that serves
	// the connection; 0: goroutines serve it. addr and localAddr are the two ends as CLIENT LIST shows them.
	Admit(l Link, loop int, addr, localAddr string) (Client, []byte)
	// Context ends when the gateway closes the last connections.
	Context() context.Context
	// Go runs f on a goroutine that the gateway waits for.
	Go(f func())
	// HandshakeTimeout bounds a TLS handshake.
	HandshakeTimeout() time.Duration
	// Log returns the logger for failures of listeners.
	Log() *slog.Logger
}

// Client is the gateway's side of one connection. A link calls Input, Resume and Room from one goroutine at a time.
type Client interface {
	// Input receives bytes from the connection. It reports whether the link may read on; otherwise the client calls
	// Output.Resume later.
	Input(b []byte, batch *FlushBatch) (more bool)
	// Resume continues with input that the client keeps. It reports whether the link may read on.
	Resume(batch *FlushBatch) (more bool)
	// Room returns the buffer for the next read: the rest of a large request, or b.
	Room(b []byte) []byte
	// Kept returns how many bytes of input the client keeps.
	Kept() int
	// HangUp reports that the client sends no more, while the link may still have bytes to read.
	HangUp()
	// Ended reports the end of the input: the link has read all of it.
	Ended()
	// Depart moves the client to another process, if nothing is in flight: see Output.Detach.
	Depart()
	// Left reports the end of the connection. It is the last call.
	Left()
}

// Link is one connection. Its methods do not block.
type Link interface {
	// serve sets the client and its output, before any other call.
	serve(c Client, out *Output)
	// write writes as much as the connection takes now.
	write(b []byte) (int, error)
	// await calls Output.writable once the connection takes more.
	await()
	// resume calls Client.Resume soon, from a goroutine of the link. Until then the link does not read.
	resume()
	// close ends the connection and calls Client.Left afterwards. It may be called more than once.
	close()
	// descriptor is the number of the socket, or -1.
	descriptor() int
	// depart calls Client.Depart soon, from the goroutine that reads. It does nothing if the connection cannot move.
	depart()
	// detach makes the link neither read nor write until attach. Client.Depart calls it. What the client sends stays in
	// the kernel.
	detach()
	// attach ends the effect of detach.
	attach()
	// leave makes close release the descriptor only, because another process has the connection. detach comes before it.
	leave()
}

// stays is the part of Link of a connection that cannot move to another process.
type stays struct{}

func (stays) depart() {}
func (stays) detach() {}
func (stays) attach() {}
func (stays) leave()  {}

// signal wakes the goroutine that waits on a channel of capacity 1.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
