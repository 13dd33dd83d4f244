package wire

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Peer stores facts about a server from handshakes. The zero value is empty. All methods are safe for concurrent use,
// and on a nil Peer, which stores nothing.
type Peer struct {
	protocol atomic.Int32 // of the last handshake; 0: none yet
	bare     atomic.Bool  // it closes the connection after an unknown command
	tried    atomic.Int64 // Unix nanoseconds of the last attempt at a bare handshake
	greeting atomic.Pointer[resp.Value]
}

// bareAgain is the minimum time between two dials that only try whether a bare handshake helps. A server that closes
// every connection is dialed a second time only at this interval.
const bareAgain = 10 * time.Second

// Protocol returns the RESP version of the last handshake, or 0.
func (p *Peer) Protocol() int {
	if p == nil {
		return 0
	}
	return int(p.protocol.Load())
}

// Greeting returns the last reply to HELLO: a map, or an array in RESP2; nil if there is none. The caller must not
// modify it.
func (p *Peer) Greeting() *resp.Value {
	if p == nil {
		return nil
	}
	return p.greeting.Load()
}

// Since reports whether the server has a feature of a Redis version up to 7.2, from which Valkey forked. It is false if
// the version is unknown.
func (p *Peer) Since(major, minor int) bool {
	v := p.Greeting()
	if v == nil {
		return false
	}
	var has [2]int
	for i := 0; i+1 < len(v.Elems); i += 2 {
		switch value := string(v.Elems[i+1].Str); string(v.Elems[i].Str) {
		case "server":
			if value == "valkey" {
				return true
			}
		case "version":
			first, rest, _ := strings.Cut(value, ".")
			second, _, _ := strings.Cut(rest, ".")
			has[0], _ = strconv.Atoi(first)
			has[1], _ = strconv.Atoi(second)
		}
	}
	return has[0] > major || has[0] == major && has[1] >= minor
}

// greet stores the reply to HELLO; nil removes the previous one.
func (p *Peer) greet(v *resp.Value) {
	if p != nil {
		p.greeting.Store(v)
	}
}

// introduce opens a connection. Some servers and proxies close the connection after an unknown command. In that case
// it opens another connection with a bare handshake. The first one is closed on both sides by then.
func (p *Peer) introduce(cfg *Config, open func(bare bool) (*Conn, error)) (*Conn, error) {
	if p == nil {
		p = &Peer{}
	}
	if p.bare.Load() && cfg.Protocol != 3 {
		c, err := open(true)
		if err != nil && !answered(err) {
			p.bare.Store(false) // the address may lead to another server by now
		}
		return c, err
	}
	c, err := open(false)
	if err == nil {
		if cfg.Nobody || cfg.Introduced != nil {
			return c, nil // its protocol is not the one that the server prefers
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
			err = again // this time the server replied
		}
		return nil, err
	}
	p.bare.Store(true)
	p.protocol.Store(2)
	return c, nil
}

// mayBeBare reports whether a bare handshake may help, and records the attempt. Of several dials at once, one tries.
// If a usual handshake succeeded before, the server closed the connection for another reason.
func (p *Peer) mayBeBare() bool {
	last, now := p.tried.Load(), time.Now().UnixNano()
	return p.protocol.Load() == 0 && now-last >= int64(bareAgain) && p.tried.CompareAndSwap(last, now)
}
