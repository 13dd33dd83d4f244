package lane_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// crooked is a server that answers each command with its last argument, and whose fault sees
// every reply before it is sent. It sends what has gathered when it has read all there is.
type crooked struct {
	fault  func(n int, args []string, reply string) string // n counts the commands from 1
	proofs atomic.Int32
}

// proofSize is the length of a token, which no other argument here has.
const proofSize = 16

func (c *crooked) serve(p *peer) {
	var out strings.Builder
	for n := 1; ; n++ {
		args := p.command()
		if args == nil {
			return
		}
		last := args[len(args)-1]
		if len(last) == proofSize {
			c.proofs.Add(1)
		}
		reply := bulk(last)
		if args[0] == "HELLO" {
			reply = "-ERR Syntax error in HELLO option '" + last + "'\r\n"
		}
		if c.fault != nil {
			reply = c.fault(n, args, reply)
		}
		out.WriteString(reply)
		if p.in.Buffered() == 0 || out.Len() > 4096 {
			if !p.send(out.String()) {
				return
			}
			out.Reset()
		}
	}
}

// shared opens a lane that is shared and proves itself by form.
func shared(t *testing.T, over transport, form lane.Proof, server *crooked) *link {
	k := connect(t, over, config(), server.serve)
	k.Undrain(nil, form)
	return k
}

// load runs callers until the lane fails, or each has had its share of n replies, and counts wrong replies.
func (k *link) load(callers, n int) (wrong int, failure error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range n / callers {
				v := fmt.Sprintf("%d:%d", i, j)
				frame, err := k.do("GET", v)
				mu.Lock()
				switch {
				case err != nil:
					failure = err
				case string(frame) != bulk(v):
					wrong++
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return wrong, failure
}

func TestALaneInStepPassesItsProofs(t *testing.T) {
	for _, form := range []lane.Proof{lane.EchoProof, lane.HelloProof} {
		onEach(t, func(t *testing.T, over transport) {
			server := &crooked{}
			k := shared(t, over, form, server)
			defer k.close()
			if wrong, err := k.load(8, 4*lane.ProofEvery); wrong > 0 || err != nil {
				t.Errorf("%d wrong replies, %v", wrong, err)
			}
			if n := server.proofs.Load(); n < 3 {
				t.Errorf("%d proofs were sent with %d commands", n, 4*lane.ProofEvery)
			}
		})
	}
}

func TestAConnectionOfOneHolderIsNotProven(t *testing.T) {
	server := &crooked{}
	k := shared(t, overTCP, lane.NoProof, server)
	defer k.close()
	if wrong, err := k.load(8, 4*lane.ProofEvery); wrong > 0 || err != nil {
		t.Errorf("%d wrong replies, %v", wrong, err)
	}
	if n := server.proofs.Load(); n > 0 {
		t.Errorf("%d proofs were sent", n)
	}
}

// A token that is due keeps no caller out of the window, and makes the lane look no fuller.
func TestATokenTakesNoCallersPlace(t *testing.T) {
	const window = 8
	var holds atomic.Bool
	release := make(chan struct{})
	server := &crooked{fault: func(_ int, _ []string, reply string) string {
		if holds.Load() {
			<-release
		}
		return reply
	}}
	cfg := config()
	cfg.Window = window
	k := connect(t, overTCP, cfg, server.serve)
	defer k.close()
	k.Undrain(nil, lane.EchoProof)
	if wrong, err := k.load(1, lane.ProofEvery); wrong > 0 || err != nil || server.proofs.Load() > 0 {
		t.Fatalf("%d wrong replies, %v, %d proofs: want none yet", wrong, err, server.proofs.Load())
	}
	holds.Store(true)
	var callers sync.WaitGroup
	for i := range window {
		callers.Go(func() {
			if _, err := k.do("GET", fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	within(t, "all callers are on the lane", func() bool { return k.Load() == window && k.WindowWaiting() == 0 })
	holds.Store(false)
	close(release)
	callers.Wait()
	if server.proofs.Load() != 1 {
		t.Errorf("%d proofs: want 1", server.proofs.Load())
	}
}

// The fault strikes once, in the middle of the second interval.
func TestALaneOutOfStepFailsWithinAnInterval(t *testing.T) {
	const at = lane.ProofEvery + lane.ProofEvery/2
	swapped := ""
	faults := map[string]func(n int, args []string, reply string) string{
		"dropped": func(n int, _ []string, reply string) string {
			if n == at {
				return ""
			}
			return reply
		},
		"doubled": func(n int, _ []string, reply string) string {
			if n == at {
				return reply + reply
			}
			return reply
		},
		"doubled error": func(n int, _ []string, reply string) string {
			if n == at {
				return "-WRONGTYPE a\r\n-WRONGTYPE a\r\n"
			}
			return reply
		},
		"swapped with the token": func(n int, args []string, reply string) string {
			switch {
			case n > at && len(args[1]) == proofSize && swapped == "":
				swapped = reply
				return ""
			case swapped != "" && swapped != "done":
				reply, swapped = reply+swapped, "done"
			}
			return reply
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			swapped = ""
			server := &crooked{fault: fault}
			k := shared(t, overTCP, lane.EchoProof, server)
			defer k.close()
			wrong, err := k.load(64, 16*lane.ProofEvery)
			// An extra reply may arrive while no reply is pending; the lane notices it then. An error is the cause itself.
			unasked := strings.HasPrefix(name, "doubled") && err != nil &&
				(strings.Contains(err.Error(), "nobody asked for") || strings.Contains(err.Error(), "WRONGTYPE a"))
			if !errors.Is(err, lane.ErrOutOfStep) && !unasked {
				t.Fatalf("got %v and %d wrong replies; want %v", err, wrong, lane.ErrOutOfStep)
			}
			if wrong > lane.ProofEvery+64 {
				t.Errorf("%d callers got a wrong reply, of %d commands in an interval", wrong, lane.ProofEvery)
			}
		})
	}
}

// Every reply is an error: one in the token's place proves nothing by itself.
func TestALaneOutOfStepFailsAmongErrors(t *testing.T) {
	doubled := false
	server := &crooked{fault: func(n int, args []string, reply string) string {
		if args[0] == "ECHO" {
			return reply
		}
		reply = "-WRONGTYPE a\r\n"
		if n > lane.ProofEvery && !doubled {
			doubled = true
			return reply + reply
		}
		return reply
	}}
	k := shared(t, overTCP, lane.EchoProof, server)
	defer k.close()
	if _, err := k.load(64, 16*lane.ProofEvery); !errors.Is(err, lane.ErrOutOfStep) {
		t.Errorf("got %v; want %v", err, lane.ErrOutOfStep)
	}
}

func TestARefusedProofFailsNoLane(t *testing.T) {
	refusals := map[string]string{
		"forbidden": "-NOPERM User bob has no permissions to run the 'echo' command\r\n",
		"unknown":   "-ERR unknown command\r\n",
		"busy":      "-BUSY Redis is busy running a script.\r\n",
	}
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			echoes, hellos := 0, 0
			server := &crooked{fault: func(_ int, args []string, reply string) string {
				switch args[0] {
				case "ECHO":
					echoes++
					return refusal
				case "HELLO":
					hellos++
				}
				return reply
			}}
			k := shared(t, overTCP, lane.EchoProof, server)
			if wrong, err := k.load(8, 8*lane.ProofEvery); wrong > 0 || err != nil {
				t.Errorf("%d wrong replies, %v", wrong, err)
			}
			k.close()
			if name == "busy" {
				if echoes < 5 || hellos > 0 {
					t.Errorf("%d times ECHO and %d times HELLO to a server that is busy", echoes, hellos)
				}
				return
			}
			if most := map[string]int{"forbidden": 1, "unknown": 3}[name]; echoes > most || hellos < 3 {
				t.Errorf("%d times ECHO (at most %d), then %d times HELLO", echoes, most, hellos)
			}
		})
	}
}

func TestALaneWithFewCommandsIsProvenByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &crooked{}
		k := shared(t, overPipe, lane.EchoProof, server)
		defer k.close()
		for range 40 {
			k.want(bulk("v"), "GET", "v")
			time.Sleep(100 * time.Millisecond)
		}
		if n := server.proofs.Load(); n < 2 || n > 4 {
			t.Errorf("%d proofs in 4 s, want one a second", n)
		}
	})
}
