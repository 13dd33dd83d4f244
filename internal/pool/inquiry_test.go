package pool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// oracle is a server whose first conn falls silent, and that tells others what a test wants it to tell of it.
type oracle struct {
	mu     sync.Mutex
	dials  int
	mute   bool   // the first conn
	ping   string // answer to PING on others
	list   string // what CLIENT LIST tells of the first one; an error if it begins with -
	listed int    // how often that was asked
}

func (o *oracle) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	o.mu.Lock()
	o.dials++
	go o.serve(o.dials, server)
	o.mu.Unlock()
	return client, nil
}

func (o *oracle) serve(number int, conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, o.answer(number, args)); err != nil {
			return
		}
	}
}

func (o *oracle) answer(number int, args []string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case number == 1 && o.mute:
		return ""
	case args[0] == "PING" && o.mute:
		return o.ping
	case args[0] == "ECHO":
		return fmt.Sprintf("$%d\r\n%s\r\n", len(args[1]), args[1])
	case len(args) > 1 && args[1] == "ID":
		return fmt.Sprintf(":%d\r\n", 100+number)
	case len(args) > 1 && args[1] == "LIST":
		o.listed++
		if strings.HasPrefix(o.list, "-") {
			return o.list + "\r\n"
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(o.list), o.list)
	}
	return "+OK\r\n"
}

// What the server says on another conn decides what becomes of one that is silent.
func TestTheServersWordDecidesAboutASilentConn(t *testing.T) {
	const (
		dead  = 1 + iota // long before the limit
		limit            // at the limit
		never
	)
	for name, x := range map[string]struct {
		ping, list string
		ends       int
	}{
		"it waits for nothing":        {"+PONG", "id=101 addr=1.2.3.4:5 name= idle=9 flags=N qbuf=0 cmd=get", dead},
		"what came of it is old":      {"+PONG", "id=101 idle=9 flags=N qbuf=7 cmd=NULL", dead},
		"the user may not ping":       {"-NOPERM no", "id=101 idle=9 flags=N qbuf=0", dead},
		"it is blocked":               {"+PONG", "id=101 idle=9 flags=b qbuf=0 cmd=set", never},
		"it is blocked and more":      {"+PONG", "id=101 idle=9 flags=xb qbuf=0 cmd=exec", never},
		"its command still comes":     {"+PONG", "id=101 idle=0 flags=N qbuf=16384 cmd=NULL", never},
		"a script runs":               {"-BUSY Redis is busy running a script", "-BUSY Redis is busy", never},
		"it is not known":             {"+PONG", "", limit},
		"another one has its number":  {"+PONG", "id=10 flags=N", limit},
		"the user may not ask":        {"+PONG", "-NOPERM no permissions", limit},
		"the server is too old":       {"+PONG", "-ERR syntax error", limit},
		"there is no answer":          {"", "", limit},
		"the server loads its data":   {"-LOADING Redis is loading", "-LOADING Redis is loading", limit},
		"the answer is something odd": {"+PONG", "id= flags= \n= =\nid=101", dead},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := &oracle{ping: x.ping, list: x.list}
			if o.ping != "" {
				o.ping += "\r\n"
			}
			dial := &wire.Config{Network: "tcp", Addr: "memory", Protocol: 2, DialFunc: o.dial, ConnectTimeout: 5 * time.Second}
			cfg := (&memory{}).config()
			cfg.Lane.SuspectAfter, cfg.Lane.ReplyTimeout = time.Second, time.Hour
			cfg.Dial = func(ctx, cut context.Context, _ pool.Identity) (*wire.Conn, error) { return wire.Dial(ctx, cut, dial) }
			p := pool.New(cfg)
			l, err := p.Shared(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			o.mu.Lock()
			o.mute = true
			o.mu.Unlock()
			began := time.Now()
			go func() { _, _ = l.Do(context.Background(), []any{"GET", "k"}, lane.Options{Reserved: true}) }()
			select {
			case <-l.Done():
			case <-time.After(time.Minute):
			}
			took, got := time.Since(began), never
			var stall *lane.StallError
			switch errors.As(l.Err(), &stall); {
			case stall == nil:
			case stall.Reason == lane.DeadPath && took > 1900*time.Millisecond && took < 5*time.Second:
				got = dead
			case stall.Reason == lane.AtLimit && took >= 10*time.Second && took < 11*time.Second:
				got = limit
			default:
				got = 0
			}
			if got != x.ends {
				t.Errorf("%s: after %v it had ended with %v", name, took, l.Err())
			}
			o.mu.Lock()
			if most := int(took/time.Second) + 1; o.listed > most || o.dials > 15 {
				t.Errorf("%s: %d questions and %d dials in %v", name, o.listed, o.dials, took)
			}
			o.mu.Unlock()
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = p.Close(ctx)
		})
	}
}
