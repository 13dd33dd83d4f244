package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// The listener for a lost element may send commands, also on the lane on which the element could not return.
func TestTheListenerForALostElementMaySendCommands(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, s.Addr())
	client, replied := make(chan *respool.Client, 1), make(chan error, 1)
	c := openClient(t, respool.Options{Addr: relay.Addr(), MaxConnections: 2, Lanes: 1, OnEvent: func(e respool.Event) {
		if e.Kind == respool.EventElementsLost {
			ctx, cancel := context.WithTimeout(context.Background(), patience/4)
			defer cancel()
			replied <- (<-client).Do(ctx, "PING").Err()
		}
	}})
	client <- c
	mustDo(t, c, "RPUSH", "k", "x")
	relay.StallReplies()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := c.Do(ctx, "BLPOP", "k", 0).Err(); err == nil {
		t.Fatal("BLPOP replied")
	}
	s.Do("SET", "k", "a string")
	relay.Resume()
	if err := <-replied; err != nil {
		t.Errorf("PING in the listener: %v", err)
	}
	if n := c.Stats().FailedLanes; n > 0 {
		t.Errorf("%d lanes have failed: want none", n)
	}
}
