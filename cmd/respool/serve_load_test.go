//go:build unix

package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// TestSignalsUnderLoadLoseNothing sends SIGHUP several times and then SIGTERM to a gateway under
// load. SIGHUP disconnects no client, and the gateway answers every executed command before it
// ends.
func TestSignalsUnderLoadLoseNothing(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	file := tooltest.File(t, "respool.yaml", "url: "+s.URL()+"\ntell: []\nlisten: 'off'\nserve: {listen: ['127.0.0.1:0'], pipeline: 100}\n")
	p := startProcess(t, nil, nil, "serve", "-c", file)
	addr := p.log.Until(t, `msg=serving at=(\S+)`, 1)
	const clients, depth = 20, 30
	var wg sync.WaitGroup
	var ending atomic.Bool
	var answered atomic.Int64
	told := make([]int, clients)
	for i := range clients {
		c := tooltest.Dial(t, "tcp", addr)
		c.Do("+PONG", "PING")
		batch := strings.Repeat(fmt.Sprintf("INCR c%d\r\n", i), depth)
		wg.Go(func() {
			for {
				_, _ = c.Write([]byte(batch)) // an end shows in the replies
				for range depth {
					line, err := c.Reader.ReadString('\n')
					if err != nil && line == "" && ending.Load() {
						return
					}
					if got, _ := strconv.Atoi(strings.Trim(line, ":\r\n")); err != nil || got != told[i]+1 {
						t.Errorf("client %d: %q, %v after %d", i, line, err, told[i])
						return
					}
					told[i]++
					answered.Add(1)
				}
			}
		})
	}
	load := func() {
		t.Helper()
		before := answered.Load()
		testkit.Eventually(t, "1000 more replies", func() bool { return answered.Load() >= before+1000 || t.Failed() })
	}
	for n := range 5 {
		load()
		tooltest.Rewrite(t, file, fmt.Sprintf("pipeline: %d", 100+n), fmt.Sprintf("pipeline: %d", 101+n))
		p.signal(t, syscall.SIGHUP)
		p.log.Until(t, "the new configuration is active", n+1)
	}
	load()
	ending.Store(true)
	p.end(t)
	wg.Wait()
	for i, n := range told {
		if got := s.Do("INCRBY", fmt.Sprint("c", i), "0"); got != strconv.Itoa(n) {
			t.Errorf("client %d was told of %d commands: the server has done %s", i, n, got)
		}
	}
}
