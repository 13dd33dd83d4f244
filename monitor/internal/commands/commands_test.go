package commands

import (
	"testing"
	"time"
)

func TestParseStats(t *testing.T) {
	stats := ParseStats("# Commandstats\r\ncmdstat_keys:calls=3,usec=585000,usec_per_call=195000.00\r\ncmdstat_config|get:calls=1,usec=7\r\n")
	if len(stats) != 2 || stats["keys"] != (Stat{3, 585 * time.Millisecond}) || stats["config|get"] != (Stat{1, 7 * time.Microsecond}) {
		t.Errorf("%+v", stats)
	}
	if stats := ParseStats("# Server\r\nredis_version:7.0.15\r\n"); stats != nil {
		t.Errorf("%+v of a reply without the section", stats)
	}
}

func TestNamesHaveNoSecrets(t *testing.T) {
	for _, c := range []struct {
		args         []string
		command, key string
	}{
		{[]string{"KEYS", "user:*"}, "keys", "user:*"},
		{[]string{"CONFIG", "SET", "requirepass", "hush"}, "config|set", ""},
		{[]string{"SET", "k", "hush"}, "set", ""},
		{[]string{"EVAL", "return 'hush'", "0"}, "eval", ""},
		{[]string{"AUTH", "hush"}, "auth", ""},
		{nil, "", ""},
	} {
		if command, key := nameOf(c.args); command != c.command || key != c.key {
			t.Errorf("%q: %q %q", c.args, command, key)
		}
	}
}

func TestCostly(t *testing.T) {
	before := map[string]Stat{"keys": {10, time.Second}, "get": {1000, time.Second}, "client|list": {1, time.Second}, "hgetall": {1, time.Second}, "sort": {5, time.Second}}
	after := map[string]Stat{
		"keys":        {12, 1390 * time.Millisecond},                      // 195 ms each
		"get":         {1_000_000, 4 * time.Second},                       // 3 us each: busy, but nobody waits for one
		"client|list": {11, 2 * time.Second},                              // of a monitor
		"hgetall":     {501, 2*time.Second + time.Millisecond},            // 2 ms each, a fifth of the time
		"sort":        {6, time.Second + 30*time.Millisecond},             // once
		"eval":        {1, 49 * time.Millisecond},                         // once
		"smembers":    {20_000, time.Second + 900*time.Millisecond + 7e6}, // below a millisecond each
	}
	slow := []Slow{{ID: 5, Took: 190 * time.Millisecond, Command: "keys"}, {ID: 6, Took: 200 * time.Millisecond, Command: "keys"},
		{ID: 2, Took: 120 * time.Millisecond, Command: "flushall"}, {ID: 1, Took: time.Second, Command: "keys"}, {ID: 3, Took: 99 * time.Millisecond, Command: "save"}}
	list := Costly(before, after, slow, 4, 5*time.Second)
	if len(list) != 3 || list[0].Command != "hgetall" || list[1].Command != "keys" || list[2].Command != "flushall" {
		t.Fatalf("%+v", list)
	}
	if c := list[1]; !c.Recent || c.Calls != 2 || c.Average() != 195*time.Millisecond || len(c.Slow) != 2 || c.Slow[0].ID != 6 {
		t.Errorf("%+v", c)
	}
	if c := list[2]; c.Recent || len(c.Slow) != 1 {
		t.Errorf("%+v", c)
	}
	// Without INFO commandstats, the slow log alone shows the commands.
	list = Costly(nil, nil, slow, 4, 5*time.Second)
	if len(list) != 2 || list[0].Command != "keys" || list[0].Calls != 2 || list[0].Time != 390*time.Millisecond {
		t.Errorf("%+v", list)
	}
	// The slow log of the first look has the calls that only the counts of the second look have.
	list = Costly(before, map[string]Stat{"keys": after["keys"]}, slow, 6, 5*time.Second)
	if len(list) != 2 || !list[0].Recent || len(list[0].Slow) != 1 || list[0].Slow[0].ID != 6 || list[0].Calls != 2 {
		t.Errorf("%+v", list)
	}
	if list := Costly(nil, after, nil, -1, time.Second); len(list) != 0 {
		t.Errorf("%+v without a first look", list)
	}
}

func FuzzParseStats(f *testing.F) {
	f.Add("cmdstat_keys:calls=3,usec=585000\r\n")
	f.Add("cmdstat_:calls=,usec=-1\ncmdstat_a:usec=99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		for name, s := range ParseStats(text) {
			if s.Time < 0 {
				t.Errorf("%q: %+v", name, s)
			}
		}
	})
}
