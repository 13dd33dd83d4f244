package doctor

import (
	"fmt"
	"strings"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Report is what doctor prints with --json.
type Report struct {
	Verdict     string            `json:"verdict"`
	Addr        string            `json:"addr"`
	Server      string            `json:"server"`
	Connections int64             `json:"connections"`
	MaxClients  int64             `json:"maxclients"` // 0: unknown
	SecondsRun  float64           `json:"seconds_between_looks"`
	Rates       *report.Rates     `json:"a_second,omitempty"` // absent if the server does not report them
	Clients     *Clients          `json:"clients,omitempty"`  // absent if CLIENT LIST was not read
	Holders     []Holder          `json:"holders,omitempty"`  // the largest services
	Findings    []monitor.Finding `json:"findings"`
	NotAsked    []string          `json:"not_asked,omitempty"`
}

// Clients counts connections by state. Blocked counts those that block on the server. The server does not know the
// blocking commands that wait in respool clients and gateways.
type Clients struct {
	Active     int `json:"active"`
	Blocked    int `json:"blocked"`
	Subscribed int `json:"subscribed"`
	Idle       int `json:"idle"`
}

// Holder is a service and its connections.
type Holder struct {
	Service string   `json:"service"`
	Clients int      `json:"connections"`
	Change  *float64 `json:"change_per_minute,omitempty"` // absent if unknown
}

// maxHolders is how many services a report names.
const maxHolders = 5

func holdersBetween(before, after *monitor.Snapshot) (list []Holder) {
	for _, g := range after.Clients.Sorted() {
		if len(list) == maxHolders {
			break
		}
		h := Holder{Service: g.Key[0], Clients: g.Clients}
		if took := after.At.Sub(before.At).Minutes(); before.Clients != nil && before.SameRun(after) && took > 0 {
			change := float64(g.Clients-before.Clients.Of(g.Key...)) / took
			h.Change = &change
		}
		list = append(list, h)
	}
	return list
}

// holdersText names the holders of connections, in one line.
func (rep *Report) holdersText() string {
	var parts []string
	for _, h := range rep.Holders {
		part := fmt.Sprintf("%s %d", output.Printable(h.Service), h.Clients)
		if h.Change != nil && *h.Change != 0 {
			part += fmt.Sprintf(" (%+.0f a minute)", *h.Change)
		}
		parts = append(parts, part)
	}
	return "held by " + strings.Join(parts, ", ")
}

// factsText states the measurements, in one line.
func (rep *Report) factsText() string {
	var parts []string
	if r := rep.Rates; r != nil {
		parts = append(parts, fmt.Sprintf("a second: %.0f commands, %.1f connections opened, %.1f rejected", r.Commands, r.Opened, r.Rejected))
	}
	if c := rep.Clients; c != nil {
		parts = append(parts, fmt.Sprintf("now: %d active, %d blocked on the server, %d subscribed, %d idle for a minute", c.Active, c.Blocked, c.Subscribed, c.Idle))
	}
	return strings.Join(parts, "; ")
}

// Print writes the report for people.
func (rep *Report) Print() error {
	fmt.Printf("%s\n%s, %s, read twice, %.1f s apart\n", rep.Verdict, rep.Addr, rep.Server, rep.SecondsRun)
	if facts := rep.factsText(); facts != "" {
		fmt.Println(facts)
	}
	if len(rep.Holders) > 0 {
		fmt.Println(rep.holdersText())
	}
	for _, f := range rep.Findings {
		fmt.Printf("\n%s: %s\n  seen: %s\n  do:   %s\n", strings.ToUpper(f.Severity.String()), output.Printable(f.What), output.Printable(f.Evidence), f.Remedy)
	}
	if rep.Clients != nil {
		fmt.Printf("\nnot read: %s\n", clients.Unseen)
	}
	for _, what := range rep.NotAsked {
		fmt.Printf("\nnot read: %s\n", what)
	}
	fmt.Printf("\nnext: list the holders: respool who URL --by service,addr\n")
	return nil
}
