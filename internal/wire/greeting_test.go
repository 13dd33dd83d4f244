package wire_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Where HELLO is known, connections in RESP2 learn from it as much as others do.
func TestHelloIntroducesRESP2WhereItIsKnown(t *testing.T) {
	const hello = "%2\r\n$2\r\nid\r\n:42\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n"
	peer := &wire.Peer{}
	dialTo := func(protocol int, hello string) (*wire.Conn, []string) {
		s := serve(t, redis(map[string]string{"HELLO": hello, "CLIENT": ":43\r\n"}))
		cfg := s.config()
		cfg.Protocol, cfg.Peer = protocol, peer
		return dial(t, cfg), s.Commands()
	}
	if dialTo(3, hello); peer.Greeting() == nil {
		t.Fatal("nothing is remembered")
	}
	before := peer.Greeting()
	if c, got := dialTo(2, "*4"+hello[2:]); c.ID() != 42 || c.Server() != "7.2.4" || peer.Greeting() == before || !slices.Equal(got, []string{"HELLO", "PING"}) {
		t.Errorf("number %d of %q after %q", c.ID(), c.Server(), got)
	}
	if c, _ := dialTo(2, unknownHello); c.ID() != 0 || peer.Greeting() != nil {
		t.Errorf("number %d, and %v is remembered", c.ID(), peer.Greeting())
	}
	if c, got := dialTo(2, unknownHello); c.ID() != 43 || !slices.Equal(got, []string{"CLIENT ID", "PING"}) {
		t.Errorf("number %d after %q", c.ID(), got)
	}
}

// Valkey forked from Redis 7.2.
func TestFeaturesByVersion(t *testing.T) {
	for _, tt := range []struct {
		server, version string
		want            bool // a feature of 7.2
	}{
		{"redis", "7.2.0", true},
		{"redis", "7.4.1", true},
		{"redis", "8.0.0", true},
		{"redis", "10.0", true},
		{"redis", "7.0.15", false},
		{"redis", "6.2.14", false},
		{"redis", "soon", false},
		{"redis", "", false},
		{"valkey", "7.2.4", true},
		{"valkey", "8.0.1", true},
	} {
		hello := fmt.Sprintf("%%2\r\n$6\r\nserver\r\n$%d\r\n%s\r\n$7\r\nversion\r\n$%d\r\n%s\r\n",
			len(tt.server), tt.server, len(tt.version), tt.version)
		s := serve(t, redis(map[string]string{"HELLO": hello}))
		cfg := s.config()
		cfg.Protocol, cfg.Peer = 3, &wire.Peer{}
		dial(t, cfg)
		if got := cfg.Peer.Since(7, 2); got != tt.want {
			t.Errorf("%s %s has a feature of 7.2: %v", tt.server, tt.version, got)
		}
	}
	if (&wire.Peer{}).Since(1, 0) {
		t.Error("an unknown server has features")
	}
}
