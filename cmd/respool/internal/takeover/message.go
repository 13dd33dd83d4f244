// Package takeover carries the messages by which a new gateway process takes over the listeners and the clients of the running
// one: over a Unix socket that only the same user may use, with the descriptors of the sockets. It does not decide what the
// processes do; package serve does. It starts no goroutines.
//
// The order of the messages:
//
//	new process            running process
//	Hello             ->
//	                  <-   Wait (repeated, while it cannot begin), or Refusal: the end
//	                  <-   Offer, with the listeners
//	Ready             ->                          before Go, the running process goes on if the new one ends
//	                  <-   Go, or Refusal         from now on only the new process accepts clients
//	                  <-   Places (repeated), Move (for each client)
//	Moved             ->                          for each Move
//	                  <-   Mark (once), Prepare (for each client with subscriptions)
//	Prepared          ->                          for Mark and for each Prepare; then a mark follows, and Move
//	                  <-   Done                   the running process has no connection any more, and ends
//
// A process closes the channel without a Refusal or Done only when it has no connection to the server any more.
package takeover

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

// Version is the version of the messages. Processes of different versions do not take over from each other.
const Version = 1

// Kind is the kind of a message.
type Kind uint8

// The kinds of messages: see the package comment.
const (
	Hello Kind = 1 + iota
	Wait
	Refusal
	Offer
	Ready
	Go
	Places
	Move
	Moved
	Done
	Mark
	Prepare
	Prepared
)

// String returns the name of the kind.
func (k Kind) String() string {
	names := [...]string{"no message", "Hello", "Wait", "Refusal", "Offer", "Ready", "Go", "Places", "Move", "Moved", "Done", "Mark", "Prepare", "Prepared"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("a message of kind %d", k)
}

// Message is a message with the fields that its kind needs.
type Message struct {
	Kind Kind

	Version int               // of Hello
	Server  string            // of Hello: the server of the configuration
	Max     int               // of Hello: the limit of connections to each node
	Total   int               // of Hello, Offer and Places: as Max and Places, for all nodes of a cluster together; 0: no limit
	Text    string            // of Refusal: the reason; of Moved and Prepared: why the client stays, or empty; of Mark: the channel
	Names   []Listener        // of Offer: the listeners, in the order of the descriptors
	Places  int               // of Offer and Places: how many connections to each node the new process may have
	LastID  int64             // of Go: the largest ID of a client
	Number  uint64            // of Move, Moved, Prepare and Prepared: of the client; 0 in Prepared: the reply to Mark
	Batch   uint64            // of Prepare: of the mark that divides the client's messages
	Topics  []session.Topic   // of Prepare
	Proto   int               // of Prepare
	Client  *gateway.Snapshot // of Move
}

// Listener is a listener whose descriptor an Offer contains.
type Listener struct {
	Pages    bool   // of the HTTP pages, not of the gateway
	Takeover bool   // of the processes that take over; a process that lacks this field ignores the listener, and listens anew
	Name     string // in the configuration
}

const (
	headerSize = 8       // length of the message and number of its descriptors
	mostBytes  = 4 << 20 // of a message; Move contains up to gateway.MostMovedInput of input
	mostFiles  = 128     // descriptors of a message; the kernel allows 253
)

// errMalformed is the error of a message that no process of this version sends.
var errMalformed = errors.New("takeover: malformed message")

// ErrTooLarge is the error of Send for a message that is too large. Nothing was sent.
var ErrTooLarge = errors.New("too large")

// errFiles is the error of Receive for a message with several descriptors of which some were lost.
var errFiles = errors.New("takeover: too many open files to receive the sockets: raise the limit (LimitNOFILE)")

// encode returns a message with its header.
func encode(m *Message, files int) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, headerSize, 1024))
	if err := gob.NewEncoder(b).Encode(m); err != nil {
		return nil, fmt.Errorf("takeover: encode %v: %w", m.Kind, err)
	}
	size := b.Len() - headerSize
	if size > mostBytes || files > mostFiles {
		return nil, fmt.Errorf("takeover: %v is %w: it has %d bytes and %d descriptors: want %d and %d at most", m.Kind, ErrTooLarge, size, files, mostBytes, mostFiles)
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(size))
	binary.BigEndian.PutUint32(b.Bytes()[4:], uint32(files))
	return b.Bytes(), nil
}

// sizes reads a header.
func sizes(header []byte) (size, files int, err error) {
	size, files = int(binary.BigEndian.Uint32(header)), int(binary.BigEndian.Uint32(header[4:]))
	if size > mostBytes || files > mostFiles {
		return 0, 0, errMalformed
	}
	return size, files, nil
}

// decode reads a message without its header.
func decode(b []byte, files int) (m Message, err error) {
	r := bytes.NewReader(b)
	if err := gob.NewDecoder(r).Decode(&m); err != nil || r.Len() > 0 {
		return Message{}, errMalformed
	}
	want := 0
	switch m.Kind {
	case Offer:
		want = len(m.Names)
	case Move:
		want = 1
		if m.Client == nil {
			return Message{}, errMalformed
		}
	}
	if m.Kind < Hello || m.Kind > Prepared || files != want {
		return Message{}, errMalformed
	}
	return m, nil
}

// unwrapEOF returns io.EOF for an error that means the end of the other process.
func unwrapEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
		return io.EOF
	}
	return fmt.Errorf("takeover: %w", err)
}
