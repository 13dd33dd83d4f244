package wire

import (
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Peer is what was learnt of a server by handshakes. The zero value knows
// nothing. All methods are safe for concurrent use, and on nil, which
// remembers nothing.
type Peer struct {
	protocol atomic.Int32 // of the last handshake; 0: there was none
	bare     atomic.Bool  // it closes the connection on what it does not know
	tried    atomic.Int64 // when a bare handshake was tried last, in Unix nanoseconds
	greeting atomic.Pointer[resp.Value]
}

// bareAgain is the time between two bare handshakes that fail: a server that
// closes every connection is dialed twice so often, and once otherwise.
const bareAgain = 10 * time.Second

// Protocol is the RESP version of the last handshake, or 0.
func (p *Peer) Protocol() int {
	if p == nil {
		return 0
	}
	return int(p.protocol.Load())
}

// Greeting is the last reply to HELLO: a map, or an array in RESP2. It is nil while there was none, and is not to be changed.
func (p *Peer) Greeting() *resp.Value {
	if p == nil {
		return nil
	}
	return p.greeting.Load()
}

// greet remembers the reply to HELLO; nil forgets the one before.
func (p *Peer) greet(v *resp.Value) {
	if p != nil {
		p.greeting.Store(v)
	}
}

// introduce opens a connection. Some servers and proxies close the connection
// on a command that they do not know: then it opens another one, whose
// handshake is bare. The first one is closed on both sides by then.
func (p *Peer) introduce(cfg *Config, open func(bare bool) (*Conn, error)) (*Conn, error) {
	if p == nil {
		p = &Peer{}
	}
	if p.bare.Load() && cfg.Protocol != 3 {
		c, err := open(true)
		if err != nil && !answered(err) {
			p.bare.Store(false) // it may be another server by now
		}
		return c, err
	}
	c, err := open(false)
	if err == nil {
		if cfg.Nobody || cfg.Introduced != nil {
			return c, nil // its protocol is not what the server prefers
		}
		p.protocol.Store(int32(c.Protocol()))
		return c, nil
	}
	if cfg.Protocol == 3 || !hungUp(err) || answered(err) || !p.mayBeBare() {
		return nil, err
	}
	c, again := open(true)
	if again != nil {
		if answered(again) {
			err = again // it listened this time
		}
		return nil, err
	}
	p.bare.Store(true)
	p.protocol.Store(2)
	return c, nil
}

// mayBeBare reports whether a bare handshake may help, and notes that one is
// tried: dials that run beside each other try one. Where one of the usual
// kind went well before, the server closed the connection for another reason.
func (p *Peer) mayBeBare() bool {
	last, now := p.tried.Load(), time.Now().UnixNano()
	return p.protocol.Load() == 0 && now-last >= int64(bareAgain) && p.tried.CompareAndSwap(last, now)
}
