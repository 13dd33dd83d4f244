package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

func TestCommandsReachTheNodesOfTheirKeys(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	client := open(t, c)
	ctx := t.Context()
	const n = 300
	for i := range n {
		if err := client.Do(ctx, "SET", key(i), i).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if got, err := client.Do(ctx, "GET", key(i)).Int64(); err != nil || got != int64(i) {
			t.Fatalf("GET %s: %d, %v", key(i), got, err)
		}
	}
	pipe := client.Pipeline()
	for i := range n {
		pipe.Do("INCR", key(i)).Do("GET", key(i))
	}
	replies, err := pipe.Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if got, err := replies[2*i+1].Int64(); err != nil || got != int64(i+1) {
			t.Fatalf("GET %s behind INCR: %d, %v", key(i), got, err)
		}
	}
	if size, err := client.Do(ctx, "DBSIZE").Int64(); err != nil || size != n {
		t.Errorf("DBSIZE: %d, %v", size, err)
	}
	args := []any{"MGET"}
	for i := range n {
		args = append(args, key(i))
	}
	values, err := client.Do(ctx, args...).Array()
	if err != nil || len(values) != n {
		t.Fatalf("MGET: %d values, %v", len(values), err)
	}
	for i, v := range values {
		if got, err := v.Int64(); err != nil || got != int64(i+1) {
			t.Fatalf("MGET %s: %d, %v", key(i), got, err)
		}
	}
	args[0] = "DEL"
	if gone, err := client.Do(ctx, args...).Int64(); err != nil || gone != n {
		t.Errorf("DEL: %d, %v", gone, err)
	}
	replies, err = client.Transaction().Do("SET", "{a}1", 1).Do("INCR", "{a}1").Do("GET", "{a}1").Exec(ctx)
	if err != nil || len(replies) != 3 {
		t.Fatalf("transaction: %d replies, %v", len(replies), err)
	}
	var cross *respool.CrossSlotError
	if _, err := client.Transaction().Do("SET", "a", 1).Do("SET", "b", 1).Exec(ctx); !errors.As(err, &cross) {
		t.Errorf("a transaction over two slots: %v", err)
	}
	if err := client.Do(ctx, "SUNION", "a", "b").Err(); !errors.As(err, &cross) {
		t.Errorf("SUNION over two slots: %v", err)
	}
	replies, err = client.Watch(ctx, []string{"{a}1", "{a}2"}, func(w *respool.Watched) error {
		n, err := w.Do(ctx, "GET", "{a}1").Int64()
		w.Queue("SET", "{a}2", n+1)
		return err
	})
	if err != nil || len(replies) != 1 {
		t.Errorf("watch: %v, %v", replies, err)
	}
	if err := client.Do(ctx, "RPUSH", "list", "x").Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Do(ctx, "BLPOP", "list", 1).Texts(); err != nil || len(got) != 2 || got[1] != "x" {
		t.Errorf("BLPOP: %v, %v", got, err)
	}
}

func TestStatisticsCountTheCommandsOfAllNodes(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client := open(t, c)
	ctx := t.Context()
	const n = 100
	for i := range n {
		if err := client.Do(ctx, "SET", key(i), i).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.Do(ctx, "LPUSH", key(i), i).Err(); !errors.Is(err, &respool.ServerError{Code: "WRONGTYPE"}) {
			t.Fatalf("LPUSH: %v", err)
		}
	}
	for section, row := range map[string]string{
		"commandstats": fmt.Sprintf("cmdstat_set:calls=%d,", n), "errorstats": fmt.Sprintf("errorstat_WRONGTYPE:count=%d\r\n", n),
	} {
		text, err := client.Do(ctx, "INFO", section).Text()
		if err != nil || !strings.Contains(text, "\n"+row) {
			t.Errorf("INFO %s: %q, %v: want the row %q", section, text, err, row)
		}
	}
	if !c.Nodes()[0].Has("latency|histogram") {
		return
	}
	commands, err := client.Do(ctx, "LATENCY", "HISTOGRAM", "set").Map()
	if err != nil {
		t.Fatal(err)
	}
	set, err := commands["set"].Map()
	if err != nil {
		t.Fatal(err)
	}
	buckets, err := set["histogram_usec"].Array()
	if err != nil || len(buckets) == 0 {
		t.Fatalf("histogram %v, %v", buckets, err)
	}
	calls, _ := set["calls"].Int64()
	if last, err := buckets[len(buckets)-1].Int64(); calls != n || last != n {
		t.Errorf("%d calls, %d of them in the histogram, %v: want %d", calls, last, err, n)
	}
}

func TestTheLogOfRefusedCommandsIsThatOfAllNodes(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client := open(t, c)
	for _, n := range c.Nodes() {
		if _, err := n.TryDo("AUTH", "nobody", "wrong"); err == nil {
			t.Fatal("AUTH of an unknown user succeeded")
		}
	}
	for _, want := range []int{len(c.Nodes()), 0} {
		entries, err := client.Do(t.Context(), "ACL", "LOG").Array()
		if err != nil || len(entries) != want {
			t.Errorf("ACL LOG: %d entries, %v: want %d", len(entries), err, want)
		}
		if err := client.Do(t.Context(), "ACL", "LOG", "RESET").Err(); err != nil {
			t.Fatal(err)
		}
	}
}
