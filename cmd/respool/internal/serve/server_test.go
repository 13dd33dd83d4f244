package serve

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/embedded"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestServeOnTheEmbeddedServer(t *testing.T) {
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}})
	c := tooltest.Dial(t, "tcp", r.at(t, 1))
	c.Do("+PONG", "PING")
	c.Do("+OK", "SET", "k", "v")
	c.Do("v", "GET", "k")
	r.page(t, "/readyz", 200)
	r.page(t, "/healthz", 200)
	r.page(t, "/api/alerts", 200)
	if text := r.page(t, "/metrics", 200); !strings.Contains(text, "respool_gateway_clients 1\n") || !strings.Contains(text, `db_client_connection_max{db_client_connection_pool_name="gateway"`) {
		t.Error(text)
	}
	if text := r.page(t, "/api/snapshot", 200); !strings.Contains(text, `"waits": {`) {
		t.Error(text)
	}
	if text := r.out.String(); !strings.Contains(text, "from an embedded server, over 16 connections at most\n") || !strings.Contains(text, "try: redis-cli -p "+port(r.at(t, 1))) {
		t.Error(text)
	}
	r.stop <- os.Interrupt
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if _, err := c.Reader.ReadByte(); err == nil {
		t.Error("the client was not closed")
	}
	if conn, err := net.Dial("tcp", r.at(t, 1)); err == nil {
		conn.Close()
		t.Error("it listens still")
	}
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func TestServeARealServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "sesame"})
	url := tooltest.File(t, "url", s.URL()+"?max_connections=3\n")
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}, URLFile: url})
	for i := range 20 {
		c := tooltest.Dial(t, "tcp", r.at(t, 1))
		key := fmt.Sprint("k", i)
		c.Do("+OK", "SET", key, "v")
		c.Do("v", "GET", key)
	}
	if list := s.Do("CLIENT", "LIST"); strings.Count(list, "name=gateway:") > 3 || !strings.Contains(list, "name=gateway:") {
		t.Error(list)
	}
	if all := r.out.String() + r.log.String(); strings.Contains(all, "sesame") || !strings.Contains(all, "over 3 connections at most") {
		t.Error(all)
	}
	r.stop <- os.Interrupt
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	s.WaitClients(t, 0, tooltest.Patience)
}

// redis-cli sends COMMAND DOCS first, and exits on an unexpected reply.
// The gateway, its probe and its watch share max_connections.
func TestTheBoundCountsTheWatch(t *testing.T) {
	for _, most := range []int{1, 2} {
		s := redistest.Start(t, redistest.Config{})
		count := s.WatchClients()
		r := served(t, &Flags{URL: fmt.Sprintf("%s?max_connections=%d", s.URL(), most), Listen: []string{"127.0.0.1:0"}})
		c := tooltest.Dial(t, "tcp", r.at(t, 1))
		for range 100 {
			c.Do("+OK", "SET", "k", "v")
		}
		testkit.Eventually(t, "the watch has listed the clients", func() bool { return r.watcher.State().Nodes[0].List != nil })
		if peak := count.Stop(); peak > most {
			t.Errorf("the server counted %d connections with max_connections=%d", peak, most)
		}
	}
}

func TestTheEmbeddedServerIsOneForRedisCLI(t *testing.T) {
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}})
	c := tooltest.Dial(t, "tcp", r.at(t, 1))
	c.Do("-ERR unknown subcommand 'DOCS'. Try COMMAND HELP.", "COMMAND", "DOCS")
	c.Do("# Server", "INFO", "server")
	c = tooltest.Dial(t, "tcp", r.at(t, 1))
	c.Do("*200", "COMMAND")
	if hello := r.hello(t); !strings.Contains(hello, "\r\nversion\r\n$5\r\n"+embedded.Version+"\r\n") {
		t.Errorf("%q", hello)
	}
}

// /readyz follows the server, /healthz does not.
func TestReadyFollowsTheServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}, URL: s.URL()})
	r.page(t, "/readyz", 200)
	admin := tooltest.Dial(t, "tcp", r.at(t, 1))
	admin.Do("+OK", "RESPOOL", "PAUSE", "600")
	if body := r.page(t, "/readyz", 200); !strings.Contains(body, `"paused": "commands to the server by RESPOOL PAUSE, `) {
		t.Error(body)
	}
	admin.Do("+OK", "RESPOOL", "RESUME")
	if body := r.page(t, "/readyz", 200); strings.Contains(body, "paused") {
		t.Error(body)
	}
	s.Kill()
	if body := r.page(t, "/readyz", 503); !strings.Contains(body, `"status": "waiting"`) || !strings.Contains(body, "refused") {
		t.Error(body)
	}
	r.page(t, "/healthz", 200)
	s.Restart()
	r.page(t, "/readyz", 200)
	r.log.Until(t, "the server does not answer", 1)
	r.log.Until(t, "the server answers", 2)
}

// A blocked client does not delay the end beyond the configured drain.
func TestAnEndWaitsForClientsWithinBounds(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for name, twice := range map[string]bool{"a short drain": false, "a second signal": true} {
		t.Run(name, func(t *testing.T) {
			drain := 100 * time.Millisecond
			if twice {
				drain = 24 * time.Hour
			}
			r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}, URL: s.URL(), Drain: &drain})
			c := tooltest.Dial(t, "tcp", r.at(t, 1))
			c.Send("BLPOP", "nothing", "0")
			testkit.Eventually(t, "one client is blocked", func() bool { return r.gateway.Stats().Blocked == 1 })
			r.stop <- syscall.SIGTERM
			r.log.Until(t, "msg=stopping", 1)
			if twice {
				r.stop <- syscall.SIGTERM
			}
			if err := r.ended(); err != nil {
				t.Error(err)
			}
			s.WaitClients(t, 0, tooltest.Patience)
		})
	}
}

// A gateway without a working listener ends with an error.
func TestServeEndsWhenAListenerFails(t *testing.T) {
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}})
	r.fails = true
	r.listeners["127.0.0.1:0"].Inner.Close()
	if err := r.ended(); err == nil || !strings.HasPrefix(err.Error(), "--listen 127.0.0.1:0: the gateway stopped listening: ") {
		t.Error(err)
	}
}
