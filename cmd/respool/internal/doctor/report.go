package doctor

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
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
	Connections *int64            `json:"connections,omitempty"` // absent if unknown
	MaxClients  int64             `json:"maxclients,omitempty"`  // absent if unknown
	Held        string            `json:"through,omitempty"`     // the process whose connections were used
	SecondsRun  float64           `json:"seconds_between_looks"`
	Rates       *report.Rates     `json:"a_second,omitempty"` // absent if the server does not report them
	Clients     *Clients          `json:"clients,omitempty"`  // absent if CLIENT LIST was not read
	Cluster     *report.Cluster   `json:"cluster,omitempty"`
	Nodes       []Node            `json:"nodes,omitempty"`   // the servers of a service or a cluster: the other numbers are sums
	Holders     []Holder          `json:"holders,omitempty"` // the largest services
	Findings    []monitor.Finding `json:"findings"`
	NotAsked    []string          `json:"not_asked,omitempty"`
	URL         string            `json:"-"` // for the commands that the text recommends; empty: unknown, or not to be shown
	incomplete  bool
	multiplexed bool // clients of respool are among the connections
	other       bool // not a server of Redis, but a gateway or the embedded server
	gateway     bool
	behind      string // the server behind a gateway; empty: unknown
}

// Incomplete reports whether a server was not read, or cannot be judged.
func (rep *Report) Incomplete() bool { return rep.incomplete }

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

// addHolders adds the services of a server.
func addHolders(list []Holder, before, after *monitor.Snapshot) []Holder {
	for _, g := range after.Clients.Sorted() {
		h := Holder{Service: g.Key[0], Clients: g.Clients}
		if took := after.At.Sub(before.At).Minutes(); before.Clients != nil && before.SameRun(after) && took > 0 {
			change := float64(g.Clients-before.Clients.Of(g.Key...)) / took
			h.Change = &change
		}
		i := slices.IndexFunc(list, func(one Holder) bool { return one.Service == h.Service })
		if i < 0 {
			list = append(list, h)
			continue
		}
		list[i].Clients += h.Clients
		if list[i].Change == nil || h.Change == nil {
			list[i].Change = nil // unknown at one of the servers
			continue
		}
		*list[i].Change += *h.Change
	}
	return list
}

// largest returns the services with the most connections.
func largest(list []Holder) []Holder {
	slices.SortStableFunc(list, func(a, b Holder) int { return cmp.Compare(b.Clients, a.Clients) })
	return list[:min(len(list), maxHolders)]
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

// through names the process whose connections were used.
func (rep *Report) through() string {
	if rep.Held == "" {
		return ""
	}
	return ", through " + rep.Held
}

// Print writes the report for people.
func (rep *Report) Print() error {
	fmt.Printf("%s\n%s, %s, read twice, %.1f s apart%s\n", rep.Verdict, rep.Addr, rep.Server, rep.SecondsRun, rep.through())
	if rep.Cluster != nil {
		fmt.Println(rep.Cluster)
	}
	if facts := rep.factsText(); facts != "" {
		fmt.Println(facts)
	}
	if len(rep.Holders) > 0 {
		fmt.Println(rep.holdersText())
	}
	if len(rep.Nodes) > 0 {
		fmt.Println()
		rep.printNodes()
	}
	for _, f := range grouped(rep.Findings) {
		fmt.Printf("\n%s: %s\n  seen: %s\n  do:   %s\n", strings.ToUpper(f.Severity.String()), output.Printable(f.What), output.Printable(f.Evidence), output.Printable(rep.filled(f.Remedy)))
		if len(f.nodes) > 0 {
			fmt.Printf("  at:   %s\n", output.Printable(strings.Join(f.nodes, ", ")))
		}
	}
	if rep.multiplexed {
		fmt.Printf("\nnot read: %s\n", clients.Unseen)
	}
	for _, what := range rep.NotAsked {
		fmt.Printf("\nnot read: %s\n", what)
	}
	switch {
	case rep.behind != "":
		fmt.Printf("\nnext: examine the server behind the gateway: respool doctor redis://%s\n", output.Printable(rep.behind))
	case rep.gateway:
		fmt.Printf("\nnext: list the clients of the gateway: %s\n", rep.filled("respool who URL --by service,addr"))
	default:
		fmt.Printf("\nnext: list the holders: %s\n", rep.filled("respool who URL --by service,addr"))
	}
	return nil
}

var recommended = regexp.MustCompile(`\brespool (who|doctor|kill|top) URL( |\)|;|$)`)

// filled returns a remedy whose commands contain the URL of the report, if it is known and they accept it.
func (rep *Report) filled(remedy string) string {
	if rep.URL == "" {
		return remedy
	}
	held, pages := strings.HasPrefix(rep.URL, "http"), strings.HasPrefix(rep.URL, "http:")
	remedy = recommended.ReplaceAllStringFunc(remedy, func(text string) string {
		if command := recommended.FindStringSubmatch(text)[1]; held && command == "top" || pages && command == "kill" {
			return text // it does not accept this URL
		}
		return strings.Replace(text, "URL", rep.URL, 1)
	})
	if pages {
		remedy = strings.ReplaceAll(remedy, "http://HOST:8637", rep.URL)
	}
	return remedy
}
