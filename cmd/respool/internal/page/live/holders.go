package live

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// holders are the groups of a node's connections.
type holders struct {
	Node      string     `json:"node"`
	ReadAt    float64    `json:"read_at,omitempty"` // seconds since 1970
	ListEvery float64    `json:"list_every"`        // seconds; 0: never
	Unknown   string     `json:"unknown,omitempty"` // why there are none
	Groupings []grouping `json:"groupings"`
	Unnamed   []string   `json:"unnamed,omitempty"` // about the service without names that holds most connections
	Unseen    string     `json:"unseen,omitempty"`  // connections that the list does not show
}

func (h *holders) id() string { return fmt.Sprint(h.Node, h.ReadAt, h.Unknown) }

// grouping is one way to group them.
type grouping struct {
	Field string `json:"field"`
	One   string `json:"one"`
	Left  int    `json:"left"` // groups that are not listed
	Rows  []row  `json:"rows"`
}

// row is a group. Unknown values are absent.
type row struct {
	Key        string   `json:"key"`
	Name       string   `json:"name"`
	Clients    int      `json:"n"`
	Share      float64  `json:"share"`
	Change     *float64 `json:"change,omitempty"` // a minute
	ChangeText string   `json:"change_text"`
	Idle       int      `json:"idle"` // for a minute or longer
	Longest    float64  `json:"longest"`
	LongText   string   `json:"longest_text"`
	Active     int      `json:"active"`
	Blocked    int      `json:"blocked"`
	Subscribed int      `json:"subscribed"`
	Memory     int64    `json:"memory,omitempty"`
	MemoryText string   `json:"memory_text"`
}

// rowsShown is how many groups are listed for each order in which they can be sorted.
const rowsShown = 40

func (b *builder) holders(addr string) *holders {
	h := &holders{Node: addr, Groupings: []grouping{}, ListEvery: max(0, b.settings.ListEvery.Seconds())}
	n := b.state(addr)
	switch {
	case n == nil:
		h.Unknown = "no server was read yet"
	case n.List == nil && n.Refused["CLIENT LIST"] != "":
		h.Unknown = "CLIENT LIST is not read: " + prose(n.Refused["CLIENT LIST"])
	case n.List == nil && h.ListEvery == 0:
		h.Unknown = "CLIENT LIST is not read: list_every is never"
	case n.List == nil && n.Err != nil:
		h.Unknown = "the server does not answer: " + output.Error(n.Err)
	case n.List == nil:
		h.Unknown = "CLIENT LIST was not read yet"
	}
	if h.Unknown != "" {
		return h
	}
	h.ReadAt = seconds(n.List.At)
	if n.Addr == GatewayNode {
		h.ListEvery = gatewayEvery(b.p.cfg.Source.Every(), b.settings.ListEvery).Seconds()
	}
	if n.List.Multiplexed && n.Addr != GatewayNode {
		h.Unseen = "not in blocked: blocking commands that wait inside clients and gateways of respool"
	}
	for i := range summary.Groupings {
		by := &summary.Groupings[i]
		h.Groupings = append(h.Groupings, groupingOf(by, summary.Rows(n, by)))
	}
	if u := n.List.Unnamed; u != nil {
		h.Unnamed = []string{prose(u.Service + " is " + u.Summary()), prose(u.Naming())}
		for _, text := range u.Divisions() {
			h.Unnamed = append(h.Unnamed, prose(text))
		}
	}
	return h
}

// groupingOf lists the groups that are among the first in any order.
func groupingOf(by *summary.Grouping, rows []summary.Row) grouping {
	g := grouping{Field: by.Field, One: by.One, Rows: []row{}}
	chosen := map[string]bool{}
	for _, of := range []func(r *summary.Row) float64{
		func(r *summary.Row) float64 { return float64(r.Group.Clients) },
		func(r *summary.Row) float64 { return r.Change },
		func(r *summary.Row) float64 { return float64(r.Group.Idle) },
		func(r *summary.Row) float64 { return float64(r.Group.Memory) },
	} {
		order := slices.Clone(rows)
		slices.SortStableFunc(order, func(a, b summary.Row) int { return cmp.Compare(of(&b), of(&a)) })
		for _, r := range order[:min(len(order), rowsShown)] {
			chosen[r.Key()] = true
		}
	}
	for i := range rows {
		r := &rows[i]
		if !chosen[r.Key()] {
			g.Left++
			continue
		}
		one := row{Key: keyOf(r.Key()), Name: r.Name, Clients: r.Group.Clients, Share: r.Share, ChangeText: r.ChangeText(),
			Idle: r.Group.Idle, Longest: r.Group.LongestIdle.Seconds(), LongText: summary.Roughly(r.Group.LongestIdle), Active: r.Group.Active,
			Blocked: r.Group.Blocked, Subscribed: r.Group.Subscribed, Memory: r.Group.Memory, MemoryText: r.MemoryText()}
		if r.Changed {
			one.Change = &r.Change
		}
		g.Rows = append(g.Rows, one)
	}
	return g
}

// listed is the body of /page/connections: the connections of a group.
type listed struct {
	Node  string       `json:"node"`
	Field string       `json:"field"`
	Key   string       `json:"key"`
	Count int          `json:"count"`
	Left  int          `json:"left"`
	Kill  string       `json:"kill"`           // the command that lists and closes the group; empty: no filter selects it
	Note  string       `json:"note,omitempty"` // what the command does beside
	Rows  []connection `json:"rows"`
	Error string       `json:"error,omitempty"`
}

type connection struct {
	ID      int64  `json:"id"`
	Addr    string `json:"addr"`
	Name    string `json:"name"`
	User    string `json:"user"`
	Lib     string `json:"lib"`
	Command string `json:"cmd"`
	Age     string `json:"age"`
	Idle    string `json:"idle"`
	Memory  string `json:"memory"`
	Kill    string `json:"kill"`
}

// connectionsShown is how many connections of a group are listed, those that are idle longest first.
const connectionsShown = 100

// connections serves the connections of a group at this moment.
func (p *Page) connections(rw http.ResponseWriter, q *http.Request) {
	secure(rw)
	r := listed{Node: q.FormValue("node"), Field: q.FormValue("by"), Key: q.FormValue("key"), Rows: []connection{}}
	if !slices.ContainsFunc(summary.Groupings, func(g summary.Grouping) bool { return g.Field == r.Field }) {
		r.Error = "by: want service, addr, user, lib or cmd"
		page.WriteJSON(rw, http.StatusBadRequest, r)
		return
	}
	b := p.build(p.cfg.Source.State())
	all, own, err := p.clientsOf(q, r.Node)
	if err != nil {
		r.Error = output.Error(err)
		page.WriteJSON(rw, http.StatusBadGateway, r)
		return
	}
	var group []monitor.Client
	for i := range all {
		if c := &all[i]; (own == "" || c.Name != own) && !c.Replication() && keyOf(monitor.KeyOf(r.Field, c)) == r.Key {
			group = append(group, *c)
		}
	}
	slices.SortStableFunc(group, func(a, b monitor.Client) int {
		return cmp.Or(cmp.Compare(b.Idle, a.Idle), cmp.Compare(b.Age, a.Age), cmp.Compare(a.ID, b.ID))
	})
	r.Count, r.Left = len(group), max(0, len(group)-connectionsShown)
	r.Kill, r.Note = b.killGroup(&r, group, all)
	for i := range group[:len(group)-r.Left] {
		c := &group[i]
		memory := "unknown"
		if c.TotalMemory > 0 {
			memory = output.Bytes(c.TotalMemory)
		}
		r.Rows = append(r.Rows, connection{c.ID, cell(c.Addr), cell(c.Name), cell(c.User),
			cell(strings.TrimSpace(c.Lib + " " + c.LibVersion)), cell(c.Command), summary.Roughly(c.Age), summary.Roughly(c.Idle), memory, b.killOne(r.Node, c)})
	}
	page.WriteJSON(rw, http.StatusOK, r)
}

// clientsOf lists the connections of a node. own is the name of those of the watch.
func (p *Page) clientsOf(q *http.Request, node string) (all []monitor.Client, own string, err error) {
	text := ""
	if node == GatewayNode && p.gateway != nil {
		text = p.gateway.clients(time.Now())
	} else {
		reading, err := p.cfg.Source.Reading(q.Context(), node)
		switch {
		case err != nil:
			return nil, "", err
		case reading.Error != "":
			return nil, "", fmt.Errorf("the server was not read: %s", reading.Error)
		case !reading.Listed:
			return nil, "", fmt.Errorf("CLIENT LIST is not read: %s", reading.Refused["CLIENT LIST"])
		}
		text, own = reading.List, reading.Own
	}
	err = monitor.EachClient(strings.NewReader(text), func(c monitor.Client) error {
		all = append(all, c)
		return nil
	})
	return all, own, err
}

// killGroup returns the command that lists the connections of a group for closing. Flags of respool kill that also select others
// are named in the note.
func (b *builder) killGroup(r *listed, group, all []monitor.Client) (command, note string) {
	if len(group) == 0 || r.Key == "" || strings.HasPrefix(r.Key, hashed) || r.Key != output.Printable(r.Key) || strings.HasPrefix(r.Key, "-") {
		return "", "no filter of respool kill selects this group: close its connections one by one"
	}
	key, selects := r.Key, func(c *monitor.Client) bool { return monitor.KeyOf(r.Field, c) == r.Key }
	if r.Field == "lib" {
		key = group[0].Lib // the flag takes no version
		selects = func(c *monitor.Client) bool { return c.Lib == key }
	}
	if key == "" || strings.HasPrefix(key, "(") && r.Field != "service" {
		return "", "no filter of respool kill selects this group: close its connections one by one"
	}
	matching := 0
	for i := range all {
		if selects(&all[i]) {
			matching++
		}
	}
	if matching > len(group) {
		note = fmt.Sprintf("the command matches %d connections, %d more than this group", matching, matching-len(group))
	}
	return "respool kill " + monitor.ShellWord(b.url(r.Node)) + " --" + r.Field + " " + monitor.ShellWord(key), note
}

// killOne returns the command that closes one connection.
func (b *builder) killOne(node string, c *monitor.Client) string {
	return fmt.Sprintf("respool kill %s --id %d --addr %s", monitor.ShellWord(b.url(node)), c.ID, monitor.ShellWord(output.Printable(c.Addr)))
}
