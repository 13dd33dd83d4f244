//go:build !linux

package takeover

import (
	"errors"
	"net"
	"time"
)

// Channel does not exist on this system.
type Channel struct{}

// Endpoint does not exist on this system.
type Endpoint struct{}

var (
	// ErrNobody is not returned on this system.
	ErrNobody = errors.New("takeover: no process listens at this path")
	// ErrTaken is not returned on this system.
	ErrTaken = errors.New("takeover: another process listens at this path")

	errSystem = errors.New("takeover: sockets can move between processes on Linux only: remove takeover")
)

// NoFile is not returned on this system.
const NoFile = -1

// Dial returns an error on this system.
func Dial(string) (*Channel, error) { return nil, errSystem }

// Listen returns an error on this system.
func Listen(string) (*Endpoint, error) { return nil, errSystem }

// Send does nothing on this system.
func (*Channel) Send(Message, ...int) error { return errSystem }

// SendBy does nothing on this system.
func (*Channel) SendBy(time.Time) {}

// Receive does nothing on this system.
func (*Channel) Receive(time.Duration) (Message, []int, error) { return Message{}, nil, errSystem }

// CloseFile does nothing on this system.
func CloseFile(int) {}

// Close does nothing on this system.
func (*Channel) Close() {}

// Discard does nothing on this system.
func (*Channel) Discard() {}

// Claim returns an error on this system.
func Claim(string) (*Endpoint, error) { return nil, errSystem }

// Adopt returns an error on this system.
func Adopt(string, net.Listener) (*Endpoint, error) { return nil, errSystem }

// Accept does nothing on this system.
func (*Endpoint) Accept() (*Channel, error) { return nil, errSystem }

// Close does nothing on this system.
func (*Endpoint) Close() {}

// Leave does nothing on this system.
func (*Endpoint) Leave() {}

// Pause does nothing on this system.
func (*Endpoint) Pause() {}

// Resume does nothing on this system.
func (*Endpoint) Resume() {}

// Control does nothing on this system.
func (*Endpoint) Control(func(fd uintptr)) error { return errSystem }

// Reachable returns false on this system.
func (*Endpoint) Reachable() bool { return false }

// Own does nothing on this system.
func (*Endpoint) Own() {}
