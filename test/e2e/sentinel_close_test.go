package e2e_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// sentinelOf returns a Sentinel of a set, and the client of its primary.
func sentinelOf(t *testing.T, opt respool.Options) (*respool.Sentinel, *respool.Client) {
	t.Helper()
	service := serviceOptions(t, redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1}))
	s, err := respool.NewSentinel(respool.SentinelOptions{Addrs: service.Sentinel.Addrs})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Primary(service.Service, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestAListenerMayCloseTheClientAndItsSentinel(t *testing.T) {
	var s *respool.Sentinel
	var c *respool.Client
	var once atomic.Bool
	ready, ended := make(chan struct{}), make(chan struct{})
	s, c = sentinelOf(t, respool.Options{OnEvent: func(e respool.Event) {
		if e.Kind != respool.EventPrimaryFound || once.Swap(true) {
			return
		}
		<-ready
		_ = c.Close(context.Background())
		_ = s.Close(context.Background())
		close(ended)
	}})
	close(ready)
	_ = c.Do(bounded(t), "PING").Err() // starts the search
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("Close does not return")
	}
	if err := s.Close(bounded(t)); err != nil {
		t.Error(err)
	}
}

func TestSentinelCloseWaitsForAClosingClient(t *testing.T) {
	s, c := sentinelOf(t, respool.Options{})
	conn, err := c.Acquire(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	closing, cut := context.WithCancel(context.Background())
	clientClosed := make(chan struct{})
	go func() {
		_ = c.Close(closing)
		close(clientClosed)
	}()
	testkit.Await(t, "a PING fails", func() error { return c.Do(bounded(t), "PING").Err() }, failed)
	closed := make(chan int, 1)
	go func() {
		_ = s.Close(bounded(t))
		closed <- c.Stats().Sockets()
	}()
	select {
	case n := <-closed:
		t.Fatalf("Sentinel.Close returned with %d sockets", n)
	case <-time.After(100 * time.Millisecond): // long enough for a call that does not wait
	}
	conn.Release()
	if n := <-closed; n != 0 {
		t.Errorf("%d sockets after Sentinel.Close", n)
	}
	<-clientClosed
	cut()
}
