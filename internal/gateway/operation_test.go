package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// counting is a load that detects lost commands: each client increments its own key in pipelines, and every reply must
// be one more than the last.
type counting struct {
	t    testing.TB
	wg   sync.WaitGroup
	stop atomic.Bool
	done atomic.Int64 // replies
	last []int        // by client; valid after end
}

// countUp starts a load of clients. Each sends pipelines of this depth, or an endless one.
func countUp(h *testGateway, clients, depth int) *counting {
	c := &counting{t: h.t, last: make([]int, clients)}
	for i := range clients {
		p := h.dial()
		if got := p.ask("PING"); got != "+PONG|" { // the gateway has accepted it
			h.t.Fatal(got)
		}
		if depth == onAndOn {
			c.wg.Go(func() { c.runOn(p, i) })
		} else {
			c.wg.Go(func() { c.run(p, i, depth) })
		}
	}
	return c
}

// onAndOn is the depth of an endless pipeline.
const onAndOn = -1

// runOn counts until the connection ends. It always has a command in flight.
func (c *counting) runOn(p *peer, i int) {
	c.wg.Go(func() {
		batch := bytes.Repeat(fmt.Appendf(nil, "INCR c%d\r\n", i), 50)
		for err := error(nil); err == nil; {
			_, err = p.Conn.Write(batch)
		}
	})
	for c.take(p, i, 1000) {
	}
}

// run counts until stop is set or the connection ends. Only the commands after the last accepted one are lost.
func (c *counting) run(p *peer, i, depth int) {
	batch := bytes.Repeat(fmt.Appendf(nil, "INCR c%d\r\n", i), depth)
	for !c.stop.Load() {
		if _, err := p.Conn.Write(batch); err != nil {
			break
		}
		if !c.take(p, i, depth) {
			return
		}
	}
	if !c.stop.Load() {
		c.take(p, i, depth)
	}
}

// take reads n replies, or fewer if the connection ends.
func (c *counting) take(p *peer, i, n int) (all bool) {
	for range n {
		line, err := p.in.ReadString('\n')
		if err != nil {
			if line != "" {
				c.t.Errorf("client %d: %q and then %v", i, line, err)
			}
			if errors.Is(err, io.EOF) || !isDeadline(err) {
				return false
			}
			c.t.Errorf("client %d: %v", i, err)
			return false
		}
		if got, err := strconv.Atoi(strings.Trim(line, ":\r\n")); err != nil || got != c.last[i]+1 {
			c.t.Errorf("client %d: %q after %d", i, line, c.last[i])
			return false
		}
		c.last[i]++
		c.done.Add(1)
	}
	return true
}

// await waits for n more replies.
func (c *counting) await(n int64) {
	c.t.Helper()
	before := c.done.Load()
	testkit.Eventually(c.t, "there is load", func() bool { return c.done.Load() >= before+n || c.t.Failed() })
}

// end stops the load and compares the replies of the clients with the values on the server.
func (c *counting) end(s *redistest.Server) {
	c.t.Helper()
	c.stop.Store(true)
	c.compare(s)
}

func (c *counting) compare(s *redistest.Server) {
	c.t.Helper()
	c.wg.Wait()
	for i, told := range c.last {
		if got := s.Do("INCRBY", fmt.Sprint("c", i), "0"); got != strconv.Itoa(told) {
			c.t.Errorf("client %d was told of %d commands: the server has done %s", i, told, got)
		}
	}
}

func TestAShutdownUnderLoadRepliesToAllExecutedCommands(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for _, depth := range []int{1, 100, 2000, onAndOn} {
		s.Do("FLUSHALL")
		h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
		load := countUp(h, 12, depth)
		load.await(1000)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		load.compare(s)
	}
}

func TestNothingIsSentDuringAPause(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	const clients = 30
	load := countUp(h, clients, 10)
	operator := h.dial()
	commands := func() string { return s.Info("commandstats")["cmdstat_incr"] }
	for range 3 {
		load.await(1000)
		if got := operator.ask("RESPOOL PAUSE 600"); got != "+OK|" {
			t.Fatal(got)
		}
		testkit.Eventually(t, "all clients are held", func() bool {
			return strings.Count(operator.ask("RESPOOL CLIENTS"), "state=paused") == clients && h.client.Stats().RepliesDue == 0
		})
		before := commands()
		for range 50 {
			operator.ask("RESPOOL POOLS") // time passes
			time.Sleep(time.Millisecond)
		}
		if after := commands(); after != before {
			t.Errorf("during the pause the server went from %s to %s", before, after)
		}
		if got := operator.ask("RESPOOL RESUME"); got != "+OK|" {
			t.Fatal(got)
		}
	}
	load.await(1000)
	load.end(s)
}

func TestAReconnectLosesNothing(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	load := countUp(h, 30, 10)
	operator := h.dial()
	for range 5 {
		load.await(1000)
		before := s.Info("stats")["total_connections_received"]
		if got := operator.ask("RESPOOL RECONNECT"); got != "+OK|" {
			t.Fatal(got)
		}
		testkit.Eventually(t, "the gateway connects again", func() bool { return s.Info("stats")["total_connections_received"] != before })
	}
	load.end(s)
}

func TestAReloadUnderLoadClosesNoClient(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	load := countUp(h, 30, 10)
	for n := range 20 {
		load.await(200)
		if err := h.Reload(gateway.Config{MaxClients: 1000 + n, Pipeline: 1 + n%7, OutputBuffer: 1<<20 + n}); err != nil {
			t.Error(err)
		}
		if err := h.Reload(gateway.Config{MaxClients: -1}); err == nil {
			t.Error("a wrong configuration was taken")
		}
	}
	load.end(s)
	if n := h.Stats().Closed; n != 0 {
		t.Errorf("%d clients were dropped", n)
	}
}

// The server stops for a while. Commands that wait for it fail by their timeout with a clear error or get their own
// replies later. Commands that need no server continue.
func TestAStalledServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4&socket_timeout=0.3&timeout=1", gateway.Config{})
	const clients = 30
	var stop atomic.Bool
	var right, wrong atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		p := h.dial()
		wg.Go(func() {
			for n := 0; !stop.Load() && !t.Failed(); n++ {
				v := fmt.Sprintf("%d.%d", i, n)
				p.send(fmt.Sprintf("SET k%d %s", i, v), fmt.Sprintf("GET k%d", i), "GET "+v, "ECHO "+v)
				set, get, none := p.frame(), p.frame(), p.frame()
				p.want(bulk(v))
				for _, f := range []string{set, get, none} {
					if f[0] == '-' {
						wrong.Add(1)
						if !strings.HasPrefix(f, "-ERR respool: ") && !strings.HasPrefix(f, "-LOADING respool: ") {
							t.Errorf("%q", f)
						}
					}
				}
				if set[0] != '-' && (set != "+OK\r\n" || get[0] != '-' && get != "$"+strconv.Itoa(len(v))+"\r\n"+v+"\r\n") || none[0] != '-' && none != "$-1\r\n" && none != "_\r\n" {
					t.Errorf("%s: %q, %q and %q", v, set, get, none)
				}
				right.Add(1)
			}
		})
	}
	load := func() {
		t.Helper()
		before := right.Load()
		testkit.Eventually(t, "there is load", func() bool { return right.Load() > before+1000 || t.Failed() })
	}
	operator := h.dial()
	for range 2 {
		load()
		s.Pause()
		failed := wrong.Load()
		testkit.Eventually(t, "commands fail", func() bool { return wrong.Load() > failed })
		if got := operator.ask("PING"); got != "+PONG|" {
			t.Error(got)
		}
		if got := operator.ask("RESPOOL POOLS"); got[0] != '*' {
			t.Error(got)
		}
		s.Resume()
		load()
	}
	stop.Store(true)
	wg.Wait()
	s.Pause() // and no client may get a late reply of another one
	s.Resume()
	for i := range clients {
		p := h.dial()
		p.send(fmt.Sprintf("SET k%d last%d", i, i), fmt.Sprintf("GET k%d", i))
		p.want("+OK|", bulk(fmt.Sprint("last", i)))
	}
}

func TestAShutdownWhileClientsConnect(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for range 20 {
		h := open(t, s.URL(), gateway.Config{})
		var wg sync.WaitGroup
		come := func(dial func() (net.Conn, error)) {
			for {
				conn, err := dial()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, "PING\r\n")
				_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1))
				conn.Close()
			}
		}
		for range 4 {
			wg.Go(func() { come(func() (net.Conn, error) { return net.Dial("tcp", h.addr) }) })
			wg.Go(func() { come(func() (net.Conn, error) { return h.DialContext(context.Background()) }) })
		}
		testkit.Await(t, "100 clients connect", h.Stats, func(s gateway.Stats) bool { return s.Accepted > 100 })
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		wg.Wait()
	}
}

// The test opens files that reuse the descriptors of the first shutdown.
func TestASecondShutdownHasNoEffect(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	if got := h.dial().ask("PING"); got != "+PONG|" {
		t.Fatal(got)
	}
	shutdown := func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}
	shutdown()
	var files []*os.File
	for range 64 {
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	shutdown()
	for _, f := range files {
		if info, err := f.Stat(); err != nil || info.Size() > 0 {
			t.Errorf("%s: %v bytes were written, %v", f.Name(), info.Size(), err)
		}
	}
}

func TestCountersNeverDecrease(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				p := h.dial()
				p.write(strings.Repeat("PING\r\n", 50))
				for range 50 {
					p.want("+PONG|")
				}
				p.Close()
			}
		})
	}
	for last := h.Stats(); last.Closed < 300 && !t.Failed(); {
		now := h.Stats()
		if now.Commands < last.Commands || now.BytesIn < last.BytesIn || now.BytesOut < last.BytesOut || now.Closed < last.Closed {
			t.Errorf("%+v came after %+v", now, last)
		}
		last = now
	}
	stop.Store(true)
	wg.Wait()
}

func TestAClientInMemoryThatIsClosedWhileItWrites(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	for range 100 {
		conn, err := h.DialContext(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, "PING\r\n")
			}
		})
		wg.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		conn.Close()
		wg.Wait()
	}
}

func TestAShutdownWritesNothingToBlockedClients(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	p := h.dial()
	p.send("BLPOP list 0")
	testkit.Await(t, "the client is blocked", h.Stats, func(s gateway.Stats) bool { return s.Blocked == 1 })
	h.close()
	p.ends()
}
