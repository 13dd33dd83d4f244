package pubsub

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestBufferMatchesModel compares the buffer with a plain list of everything
// that happened.
func TestBufferMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 12).Draw(t, "limit")
		b := buffer{limit: limit}
		var want []string // messages, and gaps as they are to be received
		var losses, healed uint64
		next, held := 0, 0
		dropped := func() int { // at the end of want
			n := 0
			if len(want) > 0 {
				_, _ = fmt.Sscanf(want[len(want)-1], "dropped %d", &n)
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(*rapid.T) {
				msg := fmt.Sprint(next)
				next++
				b.push(&Message{Payload: msg}, false)
				if held < limit {
					held++
					want = append(want, msg)
					return
				}
				// The buffer reports all messages lost at one place first, as one number.
				at := len(want)
				for at > 0 && want[at-1] == "lost" {
					at--
				}
				if n := dropped(); n > 0 {
					want[len(want)-1] = fmt.Sprint("dropped ", n+1)
					return
				}
				if at > 0 {
					n := 0
					if _, err := fmt.Sscanf(want[at-1], "dropped %d", &n); err == nil {
						want[at-1] = fmt.Sprint("dropped ", n+1)
						return
					}
				}
				want = slices.Insert(want, at, "dropped 1")
			},
			"interrupt": func(*rapid.T) {
				losses++
				b.interrupt(losses)
				if len(want) == 0 || want[len(want)-1] != "lost" {
					want = append(want, "lost")
				}
			},
			"heal": func(*rapid.T) { healed = losses },
			"take": func(t *rapid.T) {
				if !b.ready(healed) {
					if len(want) > 0 && !(want[0] == "lost" && healed < losses) {
						t.Fatalf("nothing is ready: want %q", want)
					}
					return
				}
				msg := b.take()
				got := msg.Payload
				if msg.Gap != nil && msg.Gap.Cause == Reconnected && msg.Gap.Lost == Unknown {
					got = "lost"
				} else if msg.Gap != nil {
					got = fmt.Sprint("dropped ", msg.Gap.Lost)
				} else {
					held--
				}
				if len(want) == 0 || got != want[0] {
					t.Fatalf("took %q: want the first of %q", got, want)
				}
				want = want[1:]
			},
			"": func(t *rapid.T) {
				if b.n != held || len(b.ring) > max(limit, 0) {
					t.Fatalf("it holds %d messages in %d slots: want %d in at most %d", b.n, len(b.ring), held, limit)
				}
			},
		})
	})
}

func TestAnEmptyBufferKeepsLittle(t *testing.T) {
	b := buffer{limit: 100_000}
	for range 10_000 {
		b.push(&Message{}, false)
	}
	for b.ready(allHealed) {
		b.take()
	}
	if len(b.ring) > keepSlots {
		t.Errorf("an empty buffer keeps %d slots: want at most %d", len(b.ring), keepSlots)
	}
}
