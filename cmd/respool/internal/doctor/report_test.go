package doctor

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/monitor"
)

func ExampleReport_Print() {
	growth, none := 12.4, 0.0
	rep := &Report{
		Verdict: "1 finding: 120 connections of 500 (24%)", Addr: "localhost:6379", Server: "redis 7.0.15", SecondsRun: 10,
		Rates:   &report.Rates{Commands: 1234.4, Opened: 56.78, Rejected: 0.04},
		Clients: &Clients{Active: 5, Blocked: 3, Subscribed: 2, Idle: 110},
		Holders: []Holder{{"cart\x1b[1m", 100, &growth}, {"orders", 15, &none}, {"mail", 5, nil}},
		Findings: []monitor.Finding{{
			Severity: monitor.Ticket, What: "cart\x1b[1m opens connections and closes none", Evidence: "12 a minute", Remedy: "limit its pool",
		}},
		NotAsked:    []string{"CONFIG GET: NOPERM no permissions"},
		multiplexed: true,
	}
	_ = rep.Print()
	// A server whose clients and rates are unknown.
	_ = (&Report{Verdict: "nothing found: 6 connections", Addr: "localhost:6379", Server: "redis 7.0.15", SecondsRun: 1.04}).Print()
	// Output:
	// 1 finding: 120 connections of 500 (24%)
	// localhost:6379, redis 7.0.15, read twice, 10.0 s apart
	// a second: 1234 commands, 56.8 connections opened, 0.0 rejected; now: 5 active, 3 blocked on the server, 2 subscribed, 110 idle for a minute
	// held by cart?[1m 100 (+12 a minute), orders 15, mail 5
	//
	// TICKET: cart?[1m opens connections and closes none
	//   seen: 12 a minute
	//   do:   limit its pool
	//
	// not read: blocking commands that wait inside respool clients and gateways: servers do not see them (metric respool_pool_blocked)
	//
	// not read: CONFIG GET: NOPERM no permissions
	//
	// next: list the holders: respool who URL --by service,addr
	// nothing found: 6 connections
	// localhost:6379, redis 7.0.15, read twice, 1.0 s apart
	//
	// next: list the holders: respool who URL --by service,addr
}

func TestTheLargestHoldersAreNamed(t *testing.T) {
	groups := func(counts ...int) *monitor.Groups {
		g, err := monitor.NewGroups("name")
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range counts {
			for range n {
				g.Add(&monitor.Client{Name: fmt.Sprint("service", i)})
			}
		}
		return g
	}
	at := time.Unix(1000, 0)
	before := &monitor.Snapshot{At: at, Clients: groups(1, 20, 3, 4, 5, 6, 7)}
	after := &monitor.Snapshot{At: at.Add(30 * time.Second), Clients: groups(1, 2, 13, 4, 5, 6, 7)}
	list := largest(addHolders(nil, before, after))
	if len(list) != maxHolders || list[0].Service != "service2" || list[0].Clients != 13 || list[0].Change == nil || *list[0].Change != 20 {
		t.Errorf("%+v: want the %d largest services, the first with 13 connections and 20 more a minute", list, maxHolders)
	}
	before.Clients = nil // it was not read
	if list := largest(addHolders(nil, before, after)); list[0].Change != nil {
		t.Errorf("%+v: want no change without an earlier list", list[0])
	}
}
