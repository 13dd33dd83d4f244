package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// held returns the number of clients that a pause holds back.
func held(operator *peer) int { return strings.Count(operator.ask("RESPOOL CLIENTS"), "paused|") }

func TestAWritePauseAllowsReads(t *testing.T) {
	onEach(t, gateway.Config{Admin: true}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p, operator := dial(), dial()
		p.ask("SET k 1")
		script := p.ask("EVAL_RO return(1) 0") // unknown before 7.0
		if got := operator.ask("CLIENT PAUSE 600000 WRITE"); got != "+OK|" {
			t.Fatal(got)
		}
		p.send("GET k", "PING", "EVAL_RO return(1) 0", "MULTI", "GET k", "EXEC", "XREAD BLOCK 1 STREAMS s 0", "SUBSCRIBE a", "UNSUBSCRIBE")
		p.want("$1|1|", "+PONG|", script, "+OK|", "+QUEUED|", "*1|$1|1|", "*-1|", "*3|$9|subscribe|$1|a|:1|", "*3|$11|unsubscribe|$1|a|:0|")
		writes := []struct{ command, reply string }{
			{"SET k 2", "+OK|"},
			{"PUBLISH a b", ":0|"},
			{"EVAL return(1) 0", ":1|"},
			{"BLPOP none 0.01", "*-1|"},
			{"INCR n", ":1|"},
		}
		var waiting []*peer
		for _, w := range writes {
			q := dial()
			q.send(w.command)
			waiting = append(waiting, q)
		}
		multi := dial()
		multi.send("MULTI", "SET k 3", "EXEC")
		multi.want("+OK|", "+QUEUED|")
		watch := dial()
		watch.send("WATCH k", "SET w 3")
		watch.want("+OK|")
		testkit.Eventually(t, "all are held", func() bool { return held(operator) == len(writes)+2 })
		if got := p.ask("GET k"); got != "$1|1|" {
			t.Errorf("during the pause it is %s", got)
		}
		if got := operator.ask("CLIENT UNPAUSE"); got != "+OK|" {
			t.Fatal(got)
		}
		for i, w := range writes {
			waiting[i].want(w.reply)
		}
		multi.want("*1|+OK|")
		watch.want("+OK|")
	})
}

func TestAFullPauseHoldsLocalReplies(t *testing.T) {
	onEach(t, gateway.Config{Admin: true}, func(t *testing.T, h *testGateway, dial func() *peer) {
		operator := dial()
		commands := []struct{ command, reply string }{
			{"PING", "+PONG|"},
			{"ECHO a", "$1|a|"},
			{"GET none", "$-1|"},
			{"CLIENT GETNAME", "$-1|"},
			{"SELECT 1", "+OK|"},
			{"MULTI", "+OK|"},
			{"SUBSCRIBE a", "*3|$9|subscribe|$1|a|:1|"},
			{"UNSUBSCRIBE a", "*3|$11|unsubscribe|$1|a|:0|"},
			{"RESET", "+RESET|"},
			{"QUIT", "+OK|"},
			{"NOSUCH", operator.ask("NOSUCH")}, // the server's text
		}
		var waiting []*peer
		for range commands {
			p := dial()
			p.ask("PING")
			waiting = append(waiting, p)
		}
		operator.ask("CLIENT PAUSE 600000")
		for i, c := range commands {
			waiting[i].send(c.command)
		}
		testkit.Eventually(t, "all are held", func() bool { return held(operator) == len(commands) })
		// A shorter pause does not end a longer one. RESPOOL RESUME ends both.
		if got := operator.ask("RESPOOL RESUME"); got != "+OK|" {
			t.Fatal(got)
		}
		for i, c := range commands {
			waiting[i].want(c.reply)
		}
	})
}

func TestStatsReportAPause(t *testing.T) {
	onEach(t, gateway.Config{Admin: true}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		for _, step := range []struct {
			command string
			want    bool
		}{{"PING", false}, {"RESPOOL PAUSE 600", true}, {"RESPOOL RESUME", false}, {"CLIENT PAUSE 600000 WRITE", true}, {"CLIENT UNPAUSE", false}} {
			if reply := p.ask(step.command); strings.HasPrefix(reply, "-") {
				t.Fatalf("%s: %s", step.command, reply)
			}
			if got := h.Stats().Paused; got != step.want {
				t.Errorf("after %s paused is %v: want %v", step.command, got, step.want)
			}
		}
	})
}

// During a console pause the gateway answers its own commands. It holds back a command for the server and the commands
// behind it.
func TestPingWorksDuringAConsolePause(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p, other, operator := dial(), dial(), dial()
		for _, q := range []*peer{p, other, operator} {
			_ = q.SetDeadline(time.Now().Add(patience / 4))
		}
		if got := operator.ask("RESPOOL PAUSE 600"); got != "+OK|" {
			t.Fatal(got)
		}
		p.send("PING", "ECHO a")
		p.want("+PONG|", "$1|a|")
		p.send("GET none", "ECHO b")
		replies := make(chan string, 1)
		go func() {
			reply, _ := p.tryFrame()
			replies <- reply
		}()
		testkit.Eventually(t, "it is held, or answered", func() bool { return held(operator) == 1 || len(replies) > 0 })
		for _, q := range []*peer{other, operator} {
			q.send("PING", "ECHO c", "CLIENT GETNAME")
			q.want("+PONG|", "$1|c|", "$-1|")
		}
		if len(replies) > 0 {
			t.Errorf("%q came during the pause", <-replies)
			return
		}
		if got := operator.ask("RESPOOL RESUME"); got != "+OK|" {
			t.Fatal(got)
		}
		if reply := <-replies; reply != "$-1\r\n" {
			t.Errorf("the command that was held back got %q", reply)
		}
		p.want("$1|b|")
	})
}

// The test uses blocking commands.
func TestABlockedClientThatHangsUpGetsNoElement(t *testing.T) {
	onEachBlocking(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		for _, command := range []string{
			"BLPOP none 0", "BRPOP none 0", "BLMOVE none other LEFT LEFT 0", "BRPOPLPUSH none other 0", "BZPOPMIN none 0", "BZPOPMAX none 0",
			"BLMPOP 0 1 none LEFT", "BZMPOP 0 1 none MIN", "XREAD BLOCK 0 STREAMS none $", "WAIT 5 0",
			"WATCH k;BLPOP none 0", "WATCH k;XREAD BLOCK 0 STREAMS none $",
		} {
			p := dial()
			half, ok := p.Conn.(interface{ CloseWrite() error })
			if !ok {
				return // a memory connection cannot half-close
			}
			if name, rest, _ := strings.Cut(command, "MPOP "); rest != "" {
				unknown := strings.HasPrefix(p.ask(name+"MPOP"), "-ERR unknown command") // before 7.0
				testkit.Await(t, "no connection is taken", h.client.Stats, func(s respool.Stats) bool { return s.Dedicated == 0 })
				if unknown {
					p.Close()
					continue
				}
			}
			lines := strings.Split(command, ";")
			p.send(append([]string{"ECHO before"}, lines...)...)
			p.want(bulk("before"))
			for range lines[1:] {
				p.want("+OK|")
			}
			testkit.Await(t, "a client is blocked", h.Stats, func(s gateway.Stats) bool { return s.Blocked+s.Pinned > 0 })
			if err := half.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if text, err := p.tryFrame(); text != "" || err == nil {
				t.Errorf("%s: %q came: want the end", command, text)
			}
			testkit.Eventually(t, command+": its connection is gone", func() bool { return h.client.Stats().Dedicated == 0 && h.Stats().Clients == 0 })
		}
	})
}
