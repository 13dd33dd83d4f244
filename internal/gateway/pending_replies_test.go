package gateway

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/turns"
)

// A request counts as in flight from its launch until it is answered or removed, once, in any order of events.
func TestARequestCountsOnceWhileItIsInFlight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p pendingReplies
		want := map[uint64]int{} // the bytes of those in flight, by number
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			tag := p.head
			if p.n > 0 {
				tag += uint64(rapid.Int32Range(0, p.n-1).Draw(t, "request"))
			}
			switch s := p.at(tag); rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				p.next = turns.Expected(rapid.IntRange(0, 1<<20).Draw(t, "bytes"))
				_, s = p.push(engine.Identity{})
				s.state = queued
			case 2:
				if s != nil && s.state != answered {
					p.launch(s)
					want[tag] = s.expected.Bytes()
				}
			case 3:
				if s != nil {
					p.land(s)
					delete(want, tag)
				}
			case 4:
				if s != nil && s.state != answered {
					p.fill(s, []byte("+OK\r\n"))
					delete(want, tag)
				}
			case 5:
				if p.n > 0 {
					delete(want, p.head)
					p.pop()
				}
			case 6:
				if p.n > 0 {
					delete(want, p.head+uint64(p.n)-1)
					p.undo()
				}
			}
			sum := 0
			for _, n := range want {
				sum += n
			}
			if p.inFlight != sum {
				t.Fatalf("%d bytes are in flight: want %d", p.inFlight, sum)
			}
		}
	})
}
