package lane_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// sendAndWait answers the first command, then reads to the client's end.
func sendAndWait(reply string) func(*peer) {
	return func(p *peer) {
		p.command()
		p.send(reply)
		p.drop()
	}
}

func TestAReplyOverTheLimitEndsTheLane(t *testing.T) {
	for name, reply := range map[string]string{
		"claimed":  "$4611686018427387904\r\n",
		"array":    "*4611686018427387904\r\n",
		"whole":    bulk(strings.Repeat("x", 1001)),
		"elements": "*20\r\n" + strings.Repeat(bulk(strings.Repeat("x", 100)), 20),
		"push":     ">2\r\n" + bulk(strings.Repeat("x", 2000)) + ":1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, over transport) {
				cfg := config()
				cfg.ReplyLimit = 1000
				k := connect(t, over, cfg, sendAndWait(reply))
				defer k.close()
				_, err := k.do("GET", "k")
				wantSent(t, err, true)
				var collateral *lane.CollateralError // a push is nobody's reply
				if blamed := errors.Is(err, resp.ErrTooLarge); blamed == (name == "push") || !blamed && !errors.As(err, &collateral) {
					t.Errorf("the caller got %v", err)
				}
				if !errors.Is(k.Err(), resp.ErrTooLarge) {
					t.Errorf("the lane died of %v", k.Err())
				}
			})
		})
	}
}

func TestAReplyWithinTheLimitPasses(t *testing.T) {
	cfg := config()
	cfg.ReplyLimit = 1000
	k := connect(t, overTCP, cfg, answer(bulk(strings.Repeat("x", 1000-8))))
	defer k.close()
	for range 10 {
		if f, err := k.do("GET", "k"); err != nil || len(f) != 1000 {
			t.Fatalf("got %d bytes, %v", len(f), err)
		}
	}
}

func TestWhatIsNoRESPEndsTheLane(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		k := connect(t, over, config(), sendAndWait("HTTP/1.1 400 Bad Request\r\n"))
		defer k.close()
		_, err := k.do("GET", "k")
		var pe *resp.ProtocolError
		if !errors.As(err, &pe) {
			t.Errorf("got %v", err)
		}
		wantSent(t, err, true)
	})
}

func TestRepliesBeforeTheDamageAreHandedOut(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		k := connect(t, over, config(), func(p *peer) {
			for range 3 {
				p.command()
			}
			p.send("+a\r\n+b\r\nHTTP")
			p.drop()
		})
		defer k.close()
		ping := "*1\r\n$4\r\nPING\r\n"
		frames, err := k.DoRaw(background, []byte(ping+ping+ping), 3, lane.Options{})
		var pe *resp.ProtocolError
		if !errors.As(err, &pe) || len(frames) != 2 || string(frames[0]) != "+a\r\n" || string(frames[1]) != "+b\r\n" {
			t.Errorf("got %q, %v", frames, err)
		}
	})
}

func TestAReplyThatNobodyAskedForEndsTheLane(t *testing.T) {
	for reply, want := range map[string]string{
		"+OK\r\n+OK\r\n": "nobody asked for",
		"+OK\r\n-ERR max number of clients reached\r\n": "max number of clients",
	} {
		onEach(t, func(t *testing.T, over transport) {
			k := connect(t, over, config(), sendAndWait(reply))
			defer k.close()
			k.want("+OK\r\n", "PING")
			k.wait("the lane's death", k.Done())
			if !strings.Contains(k.Err().Error(), want) {
				t.Errorf("the lane died of %v", k.Err())
			}
		})
	}
}

// A length that is only claimed takes no memory.
func TestClaimsTakeNoMemory(t *testing.T) {
	for _, claim := range []string{"$4611686018427387904\r\n", "*4611686018427387904\r\n", "*1000000000\r\n*1000000000\r\n"} {
		k := connect(t, overTCP, config(), func(p *peer) {
			p.command()
			p.send(claim + "$100\r\n")
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := k.do("GET", "k")
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Error("got a reply")
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%q took %d bytes", claim, grown)
		}
		k.close()
	}
}

func TestWhoWaitsLearnsOfTheServersEnd(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		const callers = 20
		k := connect(t, over, config(), func(p *peer) {
			for range callers {
				p.command()
			}
		})
		defer k.close()
		var all []<-chan result
		for range callers {
			all = append(all, k.start(background, lane.Options{}, "GET", "k"))
		}
		for _, ch := range all {
			wantSent(t, await(t, "a caller", ch).err, true)
		}
		_, err := k.do("GET", "k")
		wantSent(t, err, false)
		wantSent(t, k.Send([]byte("x")), false)
	})
}

// A server that reads nothing: what the socket did not take was not sent.
func TestOnlyWhatWasOfferedToTheSocketWasSent(t *testing.T) {
	for _, over := range []transport{overTCP, overTLS} {
		t.Run(string(over), func(t *testing.T) {
			const callers, size = 24, 2 << 20
			die := make(chan struct{})
			cfg := config()
			cfg.WindowBytes = 1 << 30
			k := connect(t, over, cfg, func(*peer) { <-die })
			defer k.close()
			v := make([]byte, size)
			var all []<-chan result
			for i := range callers {
				all = append(all, k.start(background, lane.Options{}, "SET", "k", v))
				k.waitDepth(i + 1)
			}
			close(die)
			sent := make([]bool, callers)
			for i, ch := range all {
				var we *wire.Error
				if err := await(t, "a caller", ch).err; !errors.As(err, &we) {
					t.Fatalf("got %v", err)
				}
				sent[i] = we.Sent
			}
			if !sent[0] || sent[callers-1] {
				t.Errorf("sent: %v", sent)
			}
			for i := 1; i < callers; i++ {
				if sent[i] && !sent[i-1] {
					t.Errorf("command %d was sent and the one before was not", i)
				}
			}
		})
	}
}

// A server that stops reading for a while loses nothing.
func TestAFullSocketIsWrittenInTheBackground(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		const callers, size = 24, 1 << 20
		read := make(chan struct{})
		cfg := config()
		cfg.WindowBytes = 1 << 30
		k := connect(t, over, cfg, func(p *peer) {
			<-read
			echo(p)
		})
		defer k.close()
		all := make([]<-chan result, callers)
		value := func(i int) string { return strings.Repeat(string(rune('a'+i)), size+i) }
		for i := range all {
			all[i] = k.start(background, lane.Options{}, "ECHO", value(i))
			k.waitDepth(i + 1)
		}
		close(read)
		for i, ch := range all {
			if r := await(t, "a caller", ch); r.err != nil || string(r.frame) != bulk(value(i)) {
				t.Errorf("caller %d got %d bytes, %v", i, len(r.frame), r.err)
			}
		}
	})
}

// Callers, timeouts, pushes and several who condemn, all at once.
func TestALaneDiesOnceWhateverGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		for i := range 50 {
			cfg := config()
			cfg.Window = 4
			cfg.ReplyTimeout = time.Minute
			k := connect(t, over, cfg, func(p *peer) {
				for n := 0; n < 100+i; n++ {
					args := p.command()
					if args == nil || !p.send(">1\r\n+p\r\n"+bulk(args[1])) {
						return
					}
				}
				if i%2 == 0 { // dies by itself, or is condemned
					return
				}
				p.drop()
			})
			cause := errors.New("enough")
			var replies atomic.Int32
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for {
						if _, err := k.do("ECHO", "x"); err != nil {
							return
						}
						if replies.Add(1) > 60 && i%2 == 1 {
							go k.Abort()
							k.Fail(cause)
						}
					}
				})
			}
			wg.Wait()
			k.close()
			if _, err := k.do("ECHO", "x"); err == nil {
				t.Fatal("a dead lane works")
			}
		}
	})
}

func TestTheLaneIsClosedAfterTheServer(t *testing.T) {
	for _, over := range []transport{overTCP, overTLS} {
		t.Run(string(over), func(t *testing.T) {
			proceed := make(chan struct{})
			saw := make(chan struct{})
			k := connect(t, over, config(), func(p *peer) {
				p.drop()
				close(saw)
				<-proceed
			})
			k.Fail(wire.ErrClosed)
			await(t, "the half-close", saw)
			select {
			case <-k.closed:
				t.Error("the lane was closed before the server")
			default:
			}
			close(proceed)
			k.close()
		})
	}
}

// A writer that was cut in the middle of a TLS record cannot say goodbye; the
// server's end is waited for all the same.
func TestALaneCutWhileItWritesIsClosedAfterTheServer(t *testing.T) {
	for _, over := range []transport{overTCP, overTLS} {
		t.Run(string(over), func(t *testing.T) {
			begun, read, proceed, saw := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
			cfg := config()
			cfg.WindowBytes = 1 << 30
			k := connect(t, over, cfg, func(p *peer) {
				_, _ = p.in.Peek(1)
				close(begun)
				<-read
				p.drop()
				close(saw)
				<-proceed
			})
			ch := k.start(background, lane.Options{}, "SET", "k", make([]byte, 64<<20))
			await(t, "the first bytes", begun)
			k.Fail(wire.ErrClosed)
			wantSent(t, await(t, "the caller", ch).err, true)
			close(read)
			await(t, "the half-close", saw)
			select {
			case <-k.closed:
				t.Error("the lane was closed before the server")
			default:
			}
			close(proceed)
			k.close()
		})
	}
}

func TestAbortCutsLingeringShort(t *testing.T) {
	for _, over := range []transport{overTCP, overTLS} {
		t.Run(string(over), func(t *testing.T) {
			proceed := make(chan struct{})
			cfg := config()
			cfg.LingerLimit = time.Hour
			k := connect(t, over, cfg, func(*peer) { <-proceed })
			k.Fail(wire.ErrClosed)
			k.Abort()
			k.Abort()
			k.wait("the end", k.closed)
			close(proceed)
			k.close()
		})
	}
}

func TestLingeringHasALimit(t *testing.T) {
	proceed := make(chan struct{})
	cfg := config()
	cfg.LingerLimit = 20 * time.Millisecond
	k := connect(t, overTCP, cfg, func(p *peer) {
		go func() { // a server that talks for ever
			for p.send("+x\r\n") {
			}
		}()
		<-proceed
	})
	k.Fail(wire.ErrClosed)
	k.wait("the end", k.closed)
	close(proceed)
	k.close()
}

func TestTheCauseOfTheEndIsTold(t *testing.T) {
	cause := errors.New("enough")
	k := connect(t, overTCP, config(), (*peer).drop)
	ch := k.start(background, lane.Options{}, "GET", "k")
	k.waitDepth(1)
	k.Fail(cause)
	k.Fail(io.EOF)
	for _, err := range []error{(<-ch).err, k.Err()} {
		if !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	}
	k.close()
	if k.cause != cause {
		t.Errorf("OnDead got %v", k.cause)
	}
}
