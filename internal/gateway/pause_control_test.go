package gateway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

// lasts returns how long a command waits from now on.
func (g *pauseControl) lasts(level pauseMode) time.Duration {
	start := time.Now()
	_ = g.awaitResume(context.Background(), level)
	return time.Since(start)
}

// Unconfirmed returns the number of unconfirmed subscriptions.
func (g *Gateway) Unconfirmed() int {
	g.pauses.mu.Lock()
	defer g.pauses.mu.Unlock()
	n := 0
	for _, t := range g.pauses.pending {
		if !t.ended {
			n++
		}
	}
	return n
}

func TestClientPausesCombineLikeOnAServer(t *testing.T) {
	type step struct {
		mode pauseMode
		d    time.Duration
	}
	const s = time.Second
	for name, c := range map[string]struct {
		pauses        []step
		reads, writes time.Duration
	}{
		"of writes":          {[]step{{pauseWrites, 2 * s}}, 0, 2 * s},
		"of all":             {[]step{{pauseAll, 2 * s}}, 2 * s, 2 * s},
		"shorter":            {[]step{{pauseAll, 2 * s}, {pauseAll, s}}, 2 * s, 2 * s},
		"longer":             {[]step{{pauseAll, s}, {pauseAll, 2 * s}}, 2 * s, 2 * s},
		"shorter but strict": {[]step{{pauseWrites, 2 * s}, {pauseAll, s}}, 2 * s, 2 * s},
		"longer but mild":    {[]step{{pauseAll, s}, {pauseWrites, 2 * s}}, 2 * s, 2 * s},
		"of nothing":         {[]step{{pauseAll, 0}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, level := range []pauseMode{pauseServer, pauseWrites} {
					var g pauseControl
					g.init(0)
					for _, p := range c.pauses {
						g.pause(byClient, p.mode, p.d)
					}
					want := c.writes
					if level == pauseServer {
						want = c.reads
					}
					if got := g.lasts(level); got != want {
						t.Errorf("a command of level %d waited %v: want %v", level, got, want)
					}
					time.Sleep(time.Hour)
					if g.active.Load() {
						t.Error("it stays active")
					}
				}
			})
		})
	}
}

func TestConsoleAndClientPausesAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g pauseControl
		g.init(0)
		g.pause(byConsole, pauseServer, time.Minute)
		g.pause(byClient, pauseAll, time.Second)
		if got := g.lasts(pauseAll); got != time.Second {
			t.Errorf("PING waited %v: want a second", got)
		}
		g.pause(byConsole, pauseServer, time.Second)
		if got := g.lasts(pauseServer); got != time.Second {
			t.Errorf("a command waited %v behind a shorter pause of the console: want a second", got)
		}
		g.pause(byConsole, pauseServer, time.Minute)
		g.pause(byClient, pauseAll, time.Hour)
		g.resume(byClient)
		if g.paused(pauseAll) != nil || g.paused(pauseServer) == nil {
			t.Error("CLIENT UNPAUSE ends its own pause alone")
		}
		g.pause(byClient, pauseAll, time.Hour)
		g.resume(byConsole)
		if g.active.Load() {
			t.Error("RESPOOL RESUME ends all pauses")
		}
		g.pause(byClient, pauseAll, time.Hour)
		g.close()
		g.pause(byClient, pauseAll, time.Hour)
		if g.active.Load() {
			t.Error("at the end nothing is paused")
		}
	})
}

func shared(name string) *session.Step {
	return &session.Step{Kind: session.Multiplexed, Info: command.Lookup(name)}
}

func TestWhichCommandsWaitForASubscription(t *testing.T) {
	topic := func(kind session.TopicKind, name string) []session.Topic {
		return []session.Topic{{Kind: kind, Name: name}}
	}
	for _, c := range []struct {
		topics    []session.Topic
		set, read bool
	}{
		{topic(session.Channel, "news"), false, false},
		{topic(session.Channel, "__keyspace@0__:k"), true, false},
		{topic(session.Channel, "__key*"), true, false},
		{topic(session.Shard, "__keyspace@0__:k"), false, false},
		{topic(session.Pattern, "news.*"), false, false},
		{topic(session.Pattern, "*"), true, false},
		{topic(session.Pattern, "__key*__:*"), true, false},
		{topic(session.Pattern, "_?keyevent@*"), true, false},
		{topic(session.Pattern, "[_]_keyevent@*"), true, false},
		{topic(session.Pattern, "__k-*"), false, false},
		{append(topic(session.Pattern, "news.*"), topic(session.Pattern, "*:k")...), true, false},
	} {
		var g pauseControl
		g.init(0)
		first := g.enter(c.topics)
		last := g.enter(topic(session.Channel, "other"))
		if got := g.behind(shared("PUBLISH")); got != last {
			t.Errorf("%v: PUBLISH does not wait for the last subscription", c.topics)
		}
		if got := g.behind(shared("SET")) == first; got != c.set {
			t.Errorf("%v: SET waits: %v, want %v", c.topics, got, c.set)
		}
		if got := g.behind(shared("GET")) != nil; got != c.read {
			t.Errorf("%v: GET waits: %v, want %v", c.topics, got, c.read)
		}
		g.leave(last)
		if isClosed(last.passed) {
			t.Errorf("%v: a subscription has passed one that came before it", c.topics)
		}
		g.leave(first)
		g.leave(first)
		g.leave(nil)
		if !isClosed(last.passed) || g.active.Load() || g.behind(shared("PUBLISH")) != nil {
			t.Errorf("%v: it stays active", c.topics)
		}
	}
}

func TestAnUnconfirmedSubscriptionDelaysCommandsBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gateway{}
		g.pauses.init(time.Minute)
		g.pauses.enter([]session.Topic{{Name: "news"}})
		start := time.Now()
		for range 3 { // the commands of a pipeline wait together
			waits := &worker{c: &client{g: g}, behind: g.pauses.behind(shared("PUBLISH")), level: pauseWrites, queuedAt: start}
			if err := waits.awaitTurn(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("it took %v: want %v", got, time.Minute)
		}
	})
}
