package lane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

func TestARetiredLaneLetsRepliesInAndTakesNothingMore(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		got, reply := make(chan []string, 1), make(chan struct{})
		k := connect(t, over, config(), func(p *peer) {
			got <- p.command()
			<-reply
			p.send(bulk("v"))
			p.drop()
		})
		first := k.start(background, lane.Options{}, "GET", "k")
		<-got
		if !k.Reserve() {
			t.Fatal("no promise")
		}
		drained := make(chan struct{})
		k.Retire(func() { close(drained) })
		for _, opt := range []lane.Options{{}, {Reserved: true}} {
			if _, err := k.Do(background, []any{"SET", "k", "v"}, opt); err != lane.ErrDraining {
				t.Fatalf("got %v, want ErrDraining, with %+v", err, opt)
			}
		}
		select {
		case <-drained:
			t.Fatal("drained with a reply due")
		default:
		}
		close(reply)
		if r := <-first; r.err != nil || string(r.frame) != bulk("v") {
			t.Fatalf("got %q, %v", r.frame, r.err)
		}
		<-drained
		k.Undrain(nil, lane.NoProof)
		if _, err := k.Do(background, []any{"GET", "k"}, lane.Options{}); err != lane.ErrDraining {
			t.Fatalf("got %v after Undrain, want ErrDraining", err)
		}
		k.Fail(errors.New("closed"))
		<-k.closed
	})
}

// What a server that stands still has not taken is never sent to it once its
// lane is retired: what was cut off can't have been executed, and whoever is
// told that nothing was sent is right.
func TestARetiredLaneWritesNothingMore(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		goOn := make(chan struct{})
		seen := make(chan map[string]bool, 1)
		k := connect(t, over, config(), func(p *peer) {
			<-goOn
			got := map[string]bool{}
			for args := p.command(); args != nil; args = p.command() {
				got[args[1]] = true
			}
			seen <- got
		})
		const callers = 24
		value := strings.Repeat("x", 256<<10)
		var mu sync.Mutex
		moved, sent := map[string]bool{}, 0
		begun := make(chan struct{}, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				key := fmt.Sprint("key", i)
				begun <- struct{}{}
				_, err := k.Do(background, []any{"SET", key, value}, lane.Options{})
				mu.Lock()
				defer mu.Unlock()
				var we *wire.Error
				switch {
				case err == lane.ErrDraining || errors.As(err, &we) && !we.Sent:
					moved[key] = true
				case errors.As(err, &we):
					sent++
				default:
					t.Errorf("got %v", err)
				}
			})
		}
		for range callers {
			<-begun
		}
		for k.Depth() == 0 {
			time.Sleep(time.Millisecond)
		}
		drained := make(chan struct{})
		k.Retire(func() { close(drained) })
		close(goOn)
		k.Fail(errors.New("the node is not used any more"))
		wg.Wait()
		<-k.closed
		got := <-seen
		for key := range got {
			if moved[key] {
				t.Errorf("%s was executed although its caller was sent elsewhere", key)
			}
		}
		if len(moved) == 0 {
			t.Errorf("all %d commands of 256 KiB were taken (%d sent): the test shows nothing", callers, sent)
		}
	})
}

func TestRetiringALaneUnderLoadLosesNobody(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		cfg := config()
		cfg.Window = 8
		for range 20 {
			k := connect(t, over, cfg, echo)
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(background, patience)
					defer cancel()
					for n := 0; ; n++ {
						opt := lane.Options{Reserved: i%3 == 0 && k.Reserve()}
						want := fmt.Sprint(i, " ", n)
						frame, err := k.Do(ctx, []any{"ECHO", want}, opt)
						if err == lane.ErrDraining {
							return
						}
						if err != nil || string(frame) != bulk(want) {
							t.Errorf("got %q, %v", frame, err)
							return
						}
					}
				})
			}
			for k.Depth() == 0 {
				time.Sleep(50 * time.Microsecond)
			}
			drained := make(chan struct{})
			k.Retire(func() { close(drained) })
			wg.Wait()
			<-drained
			if d := k.Depth(); d != 0 {
				t.Errorf("%d replies are due", d)
			}
			k.Fail(errors.New("closed"))
			<-k.closed
		}
	})
}

// told takes what comes of posted requests.
type told struct{ fails chan fail }

type fail struct {
	tag uint64
	err error
}

func (*told) Reply(uint64, []byte, bool, *lane.Batch) {}
func (*told) Part(uint64, []byte) bool                { return false }
func (s *told) Fail(tag uint64, err error)            { s.fails <- fail{tag, err} }

func TestARetiredLaneTellsThoseWhoseRequestsItCutOff(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		k := connect(t, over, config(), echo)
		const n = 5
		s := &told{fails: make(chan fail, n)}
		for tag := range uint64(n) {
			if err := k.Post([]byte("*1\r\n$4\r\nPING\r\n"), 1, s, tag, lane.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		drained := make(chan struct{})
		k.Retire(func() { close(drained) })
		<-drained
		for tag := range uint64(n) {
			select {
			case got := <-s.fails:
				if got.tag != tag || !errors.Is(got.err, lane.ErrDraining) {
					t.Errorf("request %d failed with %v: want ErrDraining of request %d", got.tag, got.err, tag)
				}
			case <-time.After(patience):
				t.Fatal("nobody was told")
			}
		}
		k.Fail(errors.New("closed"))
		<-k.closed
	})
}
