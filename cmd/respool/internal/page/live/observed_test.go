package live

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/observe"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// observedBy is what the page shows of a gateway's report.
func observedBy(t *testing.T, r observe.Report) *observed {
	t.Helper()
	st := &monitor.State{At: time.Now(), Nodes: []monitor.NodeState{nodeOf(t, 100, clientList)}}
	p := New(Config{Source: &fixed{state: st}, Gateway: func() GatewayStats { return GatewayStats{List: func() string { return "" }} },
		Observed: func(n int) observe.Report {
			if n != observedShown {
				t.Errorf("%d entries are read", n)
			}
			return r
		}})
	return p.build(st).view(p.chosen("")).Observed
}

func TestWhatAGatewayDoesNotNoteIsOff(t *testing.T) {
	o := observedBy(t, observe.Report{})
	for text, setting := range map[string]string{o.SlowText: "slow_threshold: 10ms", o.HotText: "hot_keys: true", o.BigText: "hot_keys: true"} {
		if !strings.HasPrefix(text, "off: ") || !strings.Contains(text, setting) {
			t.Errorf("%q: want off, and %s", text, setting)
		}
	}
	o = observedBy(t, observe.Report{SlowThreshold: 20 * time.Millisecond, HotKeys: true})
	for _, text := range []string{o.SlowText, o.HotText, o.BigText} {
		if !strings.HasPrefix(text, "no ") {
			t.Errorf("%q: want that nothing was seen", text)
		}
	}
	if !strings.Contains(o.SlowText, "20ms") || len(o.Slow)+len(o.Hot)+len(o.Big) != 0 {
		t.Errorf("%+v", o)
	}
	if v := viewOf(&monitor.State{At: time.Now()}); v.Observed != nil {
		t.Errorf("%+v without a gateway", v.Observed)
	}
}

func TestTheSlowLogHotKeysAndLargeRepliesOfAGateway(t *testing.T) {
	at := time.Unix(1000, 0)
	const evil = "<script>hacked=1</script>"
	o := observedBy(t, observe.Report{SlowThreshold: time.Millisecond, SlowCount: 1234, HotKeys: true, HotUses: 200, HotSince: at,
		Slow: []observe.SlowEntry{{At: at, Client: 7, Addr: "10.0.0.1:9", User: "app", Command: "GET " + evil, Queue: time.Millisecond, Server: 2 * time.Millisecond, Write: 1500 * time.Millisecond, Reply: 1 << 20},
			{Queue: 11 * time.Second, Server: 1}, {Server: time.Second}},
		Hot: []observe.HotKey{{Key: evil, Command: "GET", Count: 100}, {Key: "k\u202e", Command: "SET", Count: 20, Error: 10}},
		Big: []observe.BigReply{{Command: "GET " + evil, Largest: 1 << 20, Count: 3, Bytes: 3 << 20, Last: at}}})
	if s := o.Slow[0]; s.Command != "GET "+evil || s.Queue != "1.0 ms" || s.Server != "2.0 ms" || s.Write != "1.50 s" || s.Longest != "write" || s.At != 1000 || s.Client != "7 10.0.0.1:9 app" || s.Reply != "1024 KiB" {
		t.Errorf("%+v", s)
	}
	if o.Slow[1].Longest != "queue" || o.Slow[1].Queue != "11.00 s" || o.Slow[2].Longest != "server" || !strings.Contains(o.SlowText, "1234 commands") {
		t.Errorf("%+v", o)
	}
	if k := o.Hot; k[0].Key != evil || k[0].Share != "50.0%" || k[0].Uses != "about 6,400" || k[1].Share != "5.0%" || k[1].Uses != "about 640 to 1,280" || strings.Contains(k[1].Key, "\u202e") {
		t.Errorf("%+v", k)
	}
	if b := o.Big[0]; b.Largest != "1024 KiB" || b.Count != 3 || b.Sum != "3072 KiB" || b.Last != 1000 {
		t.Errorf("%+v", b)
	}
	raw, err := json.Marshal(o)
	if err != nil || strings.Contains(string(raw), "<script") {
		t.Errorf("%s, %v: markup is not escaped", raw, err)
	}
}
