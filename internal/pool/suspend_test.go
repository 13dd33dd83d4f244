package pool_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// node is a server that never answers HOLD, and notes what it was told.
type node struct {
	listener net.Listener
	done     sync.WaitGroup
	mu       sync.Mutex
	commands map[string]int
	open     int
	held     chan struct{} // one element for each HOLD that has come
}

func startNode(t *testing.T) *node {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{listener: listener, commands: map[string]int{}, held: make(chan struct{}, 100)}
	n.done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.done.Go(func() { n.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		n.done.Wait()
	})
	return n
}

func (n *node) serve(conn net.Conn) {
	defer conn.Close()
	n.count(1)
	defer n.count(-1)
	in := bufio.NewReader(conn)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		word := args[0]
		n.mu.Lock()
		n.commands[word]++
		n.mu.Unlock()
		if word == "HOLD" {
			n.held <- struct{}{}
			continue
		}
		if _, err := conn.Write([]byte("+OK\r\n")); err != nil {
			return
		}
	}
}

func (n *node) count(d int) {
	n.mu.Lock()
	n.open += d
	n.mu.Unlock()
}

func (n *node) told(word string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.commands[word]
}

func (n *node) pool(limit int) *pool.Pool {
	j := &judge{listener: n.listener}
	cfg := j.config(limit, 1, 0)
	cfg.IdleTimeout, cfg.MaxLifetime = 0, 0
	return pool.New(cfg)
}

func closePool(t *testing.T, p *pool.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if st := p.Stats(); st.Dialing+st.Lanes+st.Idle+st.Dedicated+st.Subscribed+st.Closing != 0 {
		t.Errorf("after Close: %+v", st)
	}
}

func TestASuspendedPoolSendsNothingOnWhateverWasLeased(t *testing.T) {
	n := startNode(t)
	p := n.pool(4)
	defer closePool(t, p)
	ctx := context.Background()
	leased, err := p.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	subscriber, err := p.AcquireSubscriber(ctx)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := p.Shared(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.Suspend(time.Minute)
	<-subscriber.Lane().Done()
	<-leased.Lane().Done()
	var we *wire.Error
	if _, err := leased.Lane().Do(ctx, []any{"LEASED"}, lane.Options{}); !errors.As(err, &we) || we.Sent {
		t.Errorf("got %v on the leased conn, want an error that says unsent", err)
	}
	if _, err := shared.Do(ctx, []any{"SHARED"}, lane.Options{Reserved: true}); err == nil || errors.As(err, &we) && we.Sent {
		t.Errorf("got %v on the lane, want an error that says unsent", err)
	}
	for _, obtain := range []func() error{
		func() error { _, err := p.Acquire(ctx); return err },
		func() error { _, err := p.Shared(ctx); return err },
		func() error { return p.Warm(ctx) },
	} {
		if err := obtain(); !errors.Is(err, pool.ErrSuspended) {
			t.Errorf("got %v, want ErrSuspended", err)
		}
	}
	leased.Release()
	subscriber.Destroy("it is over")
	if n.told("LEASED")+n.told("SHARED") != 0 {
		t.Error("a command was sent after Suspend")
	}
	if _, err := p.Probe(ctx, "ROLE"); err != nil || n.told("ROLE") != 1 {
		t.Errorf("probe: %v", err)
	}
}

func TestWhatASuspendedPoolStillWaitsForIsCutAfterItsTime(t *testing.T) {
	n := startNode(t)
	p := n.pool(2)
	defer closePool(t, p)
	held, err := p.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 2)
	go func() {
		_, err := held.Lane().Do(context.Background(), []any{"HOLD"}, lane.Options{Block: command.BlockForever})
		got <- err
	}()
	<-n.held
	waited := make(chan error, 1)
	go func() {
		_, err := p.Acquire(context.Background())
		waited <- err
	}()
	for p.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	p.Suspend(20 * time.Millisecond)
	if err := <-waited; !errors.Is(err, pool.ErrSuspended) {
		t.Errorf("a waiter got %v, want ErrSuspended", err)
	}
	var we *wire.Error
	if err := <-got; !errors.As(err, &we) || !we.Sent {
		t.Errorf("got %v, want an error that says sent", err)
	}
	held.Release()
	p.Resume()
	c, err := p.Acquire(context.Background())
	if err != nil {
		t.Fatalf("after Resume: %v", err)
	}
	c.Release()
}

// What is left of the time before Suspend counts against the bound.
func TestAResumedPoolCountsItsOldConns(t *testing.T) {
	n := startNode(t)
	p := n.pool(3)
	defer closePool(t, p)
	var cancels []context.CancelFunc
	for range 2 {
		c, err := p.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancels = append(cancels, cancel)
		go func() {
			_, _ = c.Lane().Do(ctx, []any{"HOLD"}, lane.Options{Block: command.BlockForever})
			c.Release()
		}()
		<-n.held
	}
	p.Suspend(time.Minute)
	p.Resume()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	for range 2 {
		if c, err := p.Acquire(ctx); err == nil {
			defer c.Release()
		}
	}
	n.mu.Lock()
	open := n.open
	n.mu.Unlock()
	if open > 3 {
		t.Errorf("%d sockets are open: want 3 at most", open)
	}
	for _, cancel := range cancels {
		cancel()
	}
	p.Suspend(time.Millisecond)
}

func TestDialsUnderWayAreGivenUp(t *testing.T) {
	dialing := make(chan struct{}, 10)
	cfg := (&judge{listener: deaf{}}).config(2, 1, 0)
	cfg.Dial = func(ctx, _ context.Context, _ pool.Identity) (*wire.Conn, error) {
		dialing <- struct{}{}
		<-ctx.Done()
		return nil, &wire.Error{Op: "dial", Addr: "deaf", Err: ctx.Err()}
	}
	troubles := make(chan error, 10)
	cfg.OnTrouble = func(err error) { troubles <- err }
	p := pool.New(cfg)
	defer closePool(t, p)
	got := make(chan error, 1)
	go func() {
		_, err := p.Shared(context.Background())
		got <- err
	}()
	<-dialing
	p.Suspend(time.Minute)
	if err := <-got; !errors.Is(err, pool.ErrSuspended) {
		t.Errorf("got %v, want ErrSuspended", err)
	}
	for p.Stats().Dialing > 0 {
		time.Sleep(time.Millisecond)
	}
	if p.Stats().DialFailures != 0 || len(troubles) != 0 {
		t.Error("a dial that was given up counts as a failure")
	}
}

// deaf is a listener of which only the address is used.
type deaf struct{ net.Listener }

func (deaf) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
