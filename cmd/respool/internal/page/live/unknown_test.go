package live

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// viewOf is the view of a state.
func viewOf(st *monitor.State, alerts ...monitor.Alert) *view {
	p := New(Config{Source: &fixed{state: st, alerts: alerts}})
	return p.build(st).view(p.chosen(""))
}

func TestNothingUnknownIsFine(t *testing.T) {
	now := time.Now()
	down := monitor.NodeState{Addr: "a:1", Err: errors.New("connection refused"), Since: now}
	blind := monitor.NodeState{Addr: "a:1", Up: true, Last: &monitor.Snapshot{At: now, Uncounted: true}}
	partly := monitor.NodeState{Addr: "a:1", Up: true, Last: &monitor.Snapshot{At: now, MaxClients: 9, Connections: 1}, Refused: map[string]string{"CLIENT LIST": "the server refuses it: NOPERM"}}
	for name, c := range map[string]struct {
		st    *monitor.State
		level level
		text  string
	}{
		"nothing yet":    {&monitor.State{At: now}, unknown, "no server was read yet"},
		"not read yet":   {&monitor.State{At: now, Nodes: []monitor.NodeState{{Addr: "a:1"}}}, unknown, "not read yet"},
		"no primary":     {&monitor.State{At: now, Err: errors.New("no sentinel answers")}, critical, "no sentinel answers"},
		"down":           {&monitor.State{At: now, Nodes: []monitor.NodeState{down}}, critical, "not reachable"},
		"blind":          {&monitor.State{At: now, Nodes: []monitor.NodeState{blind}}, critical, "cannot judge"},
		"rights missing": {&monitor.State{At: now, Nodes: []monitor.NodeState{partly}}, critical, "1 of 9"},
	} {
		v := viewOf(c.st)
		if v.Verdict.Level != c.level || !strings.Contains(v.Verdict.Text, c.text) {
			t.Errorf("%s: %+v: want %s and %q", name, v.Verdict, c.level, c.text)
		}
		if name == "rights missing" && (len(v.Verdict.Rights) != 1 || !strings.Contains(v.Verdict.Rights[0], "NOPERM")) {
			t.Errorf("%s: %q", name, v.Verdict.Rights)
		}
		if v.Churn.Known || !strings.HasPrefix(v.Heavy.CommandsText+"unknown", "unknown") {
			t.Errorf("%s: %+v %+v: want unknown", name, v.Churn, v.Heavy)
		}
		for _, n := range v.Nodes {
			if name != "rights missing" && (n.Filled != "unknown" || n.Opened != nil || n.Level == fine) {
				t.Errorf("%s: %+v: want unknown", name, n)
			}
		}
		h := New(Config{Source: &fixed{state: c.st}}).build(c.st).holders("a:1")
		if h.Unknown == "" || len(h.Groupings) != 0 {
			t.Errorf("%s: %+v: want the reason why there are no groups", name, h)
		}
	}
}

func TestAlertsAreInTheVerdictAndTheFindings(t *testing.T) {
	st := &monitor.State{At: time.Now(), Nodes: []monitor.NodeState{nodeOf(t, 100, clientList)}}
	firing := monitor.Alert{State: monitor.Firing, Finding: monitor.Finding{Rule: "leak", Severity: monitor.Page, Node: "127.0.0.1:1", What: "it leaks",
		Evidence: "seen", Remedy: "list them: respool who URL --by service; the URL of the service"}}
	v := viewOf(st, firing)
	if v.Verdict.Level != critical || v.Verdict.Alerts == "" || len(v.Findings) == 0 || len(v.Alerts) != 1 {
		t.Fatalf("%+v", v)
	}
	if f := v.Findings[0]; f.State != "firing" || f.Do != "list them: respool who redis://127.0.0.1:1 --by service; the URL of the service" {
		t.Errorf("%+v", f)
	}
	firing.State = monitor.Resolved
	if v := viewOf(st, firing); v.Verdict.Level != fine || v.Alerts[0].Level != fine {
		t.Errorf("%+v: a resolved alert is still red", v)
	}
}

func TestTheWorstNodeIsShownFirst(t *testing.T) {
	good, full := nodeOf(t, 100, clientList), nodeOf(t, 3, clientList)
	full.Addr = "127.0.0.1:2"
	v := viewOf(&monitor.State{At: time.Now(), Nodes: []monitor.NodeState{good, full}})
	if v.Node != "127.0.0.1:2" || !strings.Contains(v.Verdict.Text, "127.0.0.1:2 primary: 3 of 3 connections") || !strings.HasSuffix(v.Verdict.Text, "1 other fine") {
		t.Errorf("%s: %+v", v.Node, v.Verdict)
	}
}

func TestTheClientsOfAGatewayAreANode(t *testing.T) {
	at := time.Now()
	lines := ""
	stats := GatewayStats{URL: "redis://127.0.0.1:6380", Status: "ok", MaxClients: 10, PinnedBy: map[string]int{"WATCH": 2}, Pools: []Pool{{Addr: "s", Sockets: 3, Limit: 8, Lanes: 3}}}
	stats.List = func() string { return lines }
	st := &monitor.State{At: at, Nodes: []monitor.NodeState{nodeOf(t, 100, clientList)}}
	p := New(Config{Source: &fixed{state: st}, Gateway: func() GatewayStats { return stats }})
	for i := range 12 {
		st.At = at.Add(time.Duration(i) * 10 * time.Second)
		lines = ""
		for k := range 4 * i {
			lines += strings.NewReplacer("N", strconv.Itoa(k+1), "A", strconv.Itoa(10*(i-k/4))).Replace("id=N addr=10.0.0.9:N laddr=10.0.0.1:6380 name=cart:a cmd=get age=A idle=A flags=N\n")
		}
		stats.Clients, stats.Accepted = 4*i, uint64(4*i)
		stats.MaxClients = 50
		p.Observe(st, nil)
	}
	v := p.build(st).view(GatewayNode)
	if v.Gateway == nil || v.Gateway.Clients != 44 || v.Gateway.Pools[0].Limit != 8 || v.Gateway.PinnedBy[0].Name != "WATCH" || v.Occupancy.Limit != 50 {
		t.Errorf("%+v", v.Gateway)
	}
	if !v.Churn.Known || v.Churn.Opened < 0.3 || v.Churn.Opened > 0.5 {
		t.Errorf("%+v: want 0.4 a second", v.Churn)
	}
	h := p.build(st).holders(GatewayNode)
	if len(h.Groupings) == 0 || h.Groupings[0].Rows[0].Name != "cart" || h.Groupings[0].Rows[0].Change == nil || *h.Groupings[0].Rows[0].Change < 20 {
		t.Errorf("%+v: want the growth of cart", h)
	}
	found := false
	for _, f := range v.Findings {
		found = found || strings.Contains(f.What, "cart") && f.Where == "clients of this gateway"
	}
	if !found {
		t.Errorf("%+v: want a finding about the leak", v.Findings)
	}
}

func TestEachAlertShowsItsDelivery(t *testing.T) {
	at := time.Unix(1000, 0)
	st := &monitor.State{At: at, Nodes: []monitor.NodeState{nodeOf(t, 100, clientList)}}
	alertOf := func(rule string, state monitor.AlertState) monitor.Alert {
		return monitor.Alert{State: state, Finding: monitor.Finding{Rule: rule, Node: "127.0.0.1:1", Severity: monitor.Warn}}
	}
	alerts := []monitor.Alert{alertOf("leak", monitor.Firing), alertOf("down", monitor.Resolved), alertOf("storm", monitor.Pending), alertOf("full", monitor.Firing)}
	down := errors.New("connection refused")
	f := &fixed{state: st, alerts: alerts, sent: map[string][]notify.Delivery{
		alerts[0].ID(): {{Sink: "log", State: monitor.Firing, Outcome: notify.Delivered, At: at},
			{Sink: "<b>webhook", State: monitor.Firing, Outcome: notify.Retrying, At: at, Attempts: 3, Err: down, FailedAt: at},
			{Sink: "pager", State: monitor.Firing, Outcome: notify.Delivered, At: at, Err: down, FailedAt: at.Add(time.Minute)}},
		alerts[1].ID(): {{Sink: "log", State: monitor.Firing, Outcome: notify.Delivered, At: at}, // of its beginning, not of its end
			{Sink: "webhook", State: monitor.Resolved, Outcome: notify.Failed, At: at, Err: down}, {Sink: "pager", State: monitor.Resolved, Outcome: notify.Unsent, At: at}},
		alerts[3].ID(): {{Sink: "log", State: monitor.Firing, Outcome: notify.Waiting, At: at}, {Sink: "webhook", State: monitor.Firing, Outcome: notify.Dropped, At: at}, {Sink: "pager"}},
	}}
	p := New(Config{Source: f})
	got := map[string][]sent{}
	for _, a := range p.build(st).view(p.chosen("")).Alerts {
		got[a.Rule] = a.Sinks
	}
	for rule, want := range map[string][]sent{
		"leak": {{"log", fine, "delivered", 1000}, {"<b>webhook", warning, "not delivered yet after 3 failed attempts: connection refused", 1000},
			{"pager", warning, "delivered, but the last repetition failed: connection refused", 1060}},
		"down": {{"log", unknown, "unknown: the sink has not received it from this process", 0}, {"webhook", critical, "given up: connection refused", 1000},
			{"pager", unknown, "not sent because the sink does not know that it fired", 1000}},
		"storm": {{"all sinks", unknown, "not sent while it is pending", 0}},
		"full": {{"log", unknown, "not tried yet", 1000}, {"webhook", critical, "dropped because too many alerts waited", 1000},
			{"pager", unknown, "unknown: the sink has not received it from this process", 0}},
	} {
		if !slices.Equal(got[rule], want) {
			t.Errorf("%s: %+v\nwant %+v", rule, got[rule], want)
		}
	}
}
