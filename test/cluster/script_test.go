package cluster

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// A primary that joins after SCRIPT LOAD lacks the script. EVALSHA of the client, and of a client of the gateway, finds it
// there. After SCRIPT FLUSH it does not.
func TestNewPrimariesGetTheScripts(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Primaries: 2, Replicas: -1})
	client := open(t, c)
	ctx := patient(t)
	const source = "return(redis.call('incr',KEYS[1]))"
	digest, err := client.Do(ctx, "SCRIPT", "LOAD", source).Text()
	if err != nil {
		t.Fatal(err)
	}
	p := dial(t, serve(t, c, gateway.Config{}))
	p.ask("SCRIPT LOAD " + source)
	const k = "{script}"
	if err := incremented(client.Do(ctx, "EVALSHA", digest, 1, k), 1); err != nil {
		t.Fatal(err)
	}
	added := c.AddPrimary()
	c.MoveSlots(c.OwnerOf(k), added, slotOf(k))
	if err := incremented(client.Do(ctx, "EVALSHA", strings.ToUpper(digest), 1, k), 2); err != nil {
		t.Errorf("at the new primary: %v", err)
	}
	added.Do("SCRIPT", "FLUSH")
	if got := p.ask("EVALSHA " + digest + " 1 " + k); got != ":3" {
		t.Errorf("through the gateway: %q", got)
	}
	if err := client.Do(ctx, "SCRIPT", "FLUSH").Err(); err != nil {
		t.Fatal(err)
	}
	var se *respool.ServerError
	if err := client.Do(ctx, "EVALSHA", digest, 1, k).Err(); !errors.As(err, &se) || se.Code != "NOSCRIPT" {
		t.Errorf("after SCRIPT FLUSH: %v", err)
	}
}
