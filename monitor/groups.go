package monitor

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// idleLong is the minimum time without a command of an idle connection.
const idleLong = time.Minute

// Group counts the connections with the same key.
type Group struct {
	Key         []string // the values, in the order of the arguments of NewGroups
	Clients     int
	Blocked     int
	Subscribed  int
	Active      int           // idle for less than a second, and neither blocked nor subscribed
	Idle        int           // idle for a minute or longer, and neither blocked nor subscribed
	Oldest      time.Duration // the age of the oldest
	LongestIdle time.Duration
	Memory      int64 // server memory of all of them in bytes, if reported

	unused unused
}

// unused counts connections that were used only when they were opened.
type unused struct {
	n                int
	oldest, youngest time.Duration
	ages             time.Duration // sum of the ages
}

const (
	unusedAge   = 5 * time.Second // younger connections may still be used
	unusedSlack = 2 * time.Second // initial time of use of a connection
)

func (u *unused) add(age time.Duration) {
	if u.n == 0 || age < u.youngest {
		u.youngest = age
	}
	u.oldest = max(u.oldest, age)
	u.ages += age
	u.n++
}

// spread returns the time between the first and the last connection, if they were opened one after
// the other. Otherwise it returns 0: a pool that was filled at its start has connections of one
// age.
func (u *unused) spread() time.Duration {
	d := u.oldest - u.youngest
	if u.n < 2 || d <= 0 {
		return 0
	}
	middle := float64(u.ages/time.Duration(u.n)-u.youngest) / float64(d)
	if middle < 0.25 || middle > 0.75 {
		return 0
	}
	return d
}

// keys are the fields by which clients can be grouped.
var keys = map[string]func(*Client) string{
	"service": (*Client).Service,
	"name":    func(c *Client) string { return cmp.Or(c.Name, "(no name)") },
	"lib":     func(c *Client) string { return cmp.Or(strings.TrimSpace(c.Lib+" "+c.LibVersion), "(unknown)") },
	"addr":    (*Client).Host,
	"user":    func(c *Client) string { return cmp.Or(c.User, "(unknown)") },
	"cmd":     func(c *Client) string { return cmp.Or(c.Command, "(none)") },
	"db":      func(c *Client) string { return fmt.Sprint(c.DB) },
	"id":      func(c *Client) string { return fmt.Sprint(c.ID) },
	"age":     (*Client).ageClass,
	"process": func(c *Client) string { return cmp.Or(c.Process.String(), "(unknown)") },
}

// Keys returns the names of the fields by which clients can be grouped, sorted.
func Keys() []string {
	var names []string
	for k := range keys {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// KeyOf returns the key of the group to which a client belongs, grouped by one field of Keys; empty if there is no such field.
func KeyOf(field string, c *Client) string {
	if fn := keys[field]; fn != nil {
		return fn(c)
	}
	return ""
}

// Groups counts clients by key. It keeps the groups, not the clients. Concurrent use is safe only
// for the Groups of a Snapshot, which no longer change.
type Groups struct {
	by    []string
	of    []func(*Client) string
	found map[string]*Group
	total Group
	list  []Group // the last list of Sorted; nil: a client was added since
}

// NewGroups returns an empty count with the given keys, at least one. An unknown key is an error.
func NewGroups(by ...string) (*Groups, error) {
	for _, k := range by {
		if keys[k] == nil {
			return nil, fmt.Errorf("monitor: clients cannot be grouped by %.40q: want some of %s", k, strings.Join(Keys(), ", "))
		}
	}
	if len(by) == 0 {
		return nil, fmt.Errorf("monitor: no fields to group by: want some of %s", strings.Join(Keys(), ", "))
	}
	return newGroups(by...), nil
}

// newGroups is NewGroups for valid keys.
func newGroups(by ...string) *Groups {
	g := &Groups{by: by, found: map[string]*Group{}}
	for _, k := range by {
		g.of = append(g.of, keys[k])
	}
	return g
}

// Add counts a client.
func (g *Groups) Add(c *Client) {
	key := make([]string, len(g.of))
	for i, fn := range g.of {
		key[i] = fn(c)
	}
	g.list = nil
	text := strings.Join(key, "\x00")
	group := g.found[text]
	if group == nil {
		group = &Group{Key: key}
		g.found[text] = group
	}
	group.add(c)
	g.total.add(c)
}

func (g *Group) add(c *Client) {
	g.Clients++
	switch {
	case c.Blocked():
		g.Blocked++
	case c.Subscribed():
		g.Subscribed++
	case c.Idle >= idleLong:
		g.Idle++
	case c.Idle < time.Second:
		g.Active++
	}
	if c.Age >= unusedAge && c.Idle >= c.Age-unusedSlack && !c.Blocked() && !c.Subscribed() {
		g.unused.add(c.Age)
	}
	g.Oldest = max(g.Oldest, c.Age)
	g.LongestIdle = max(g.LongestIdle, c.Idle)
	g.Memory += max(0, c.TotalMemory)
}

// Merge adds the clients of other groups with the same fields. The evidence of leaks is not added.
func (g *Groups) Merge(other *Groups) {
	g.list = nil
	for text, from := range other.found {
		group := g.found[text]
		if group == nil {
			group = &Group{Key: from.Key}
			g.found[text] = group
		}
		group.merge(from)
	}
	g.total.merge(&other.total)
}

func (g *Group) merge(other *Group) {
	g.Clients += other.Clients
	g.Blocked += other.Blocked
	g.Subscribed += other.Subscribed
	g.Active += other.Active
	g.Idle += other.Idle
	g.Oldest = max(g.Oldest, other.Oldest)
	g.LongestIdle = max(g.LongestIdle, other.LongestIdle)
	g.Memory += other.Memory
}

// Of returns the number of clients with this key.
func (g *Groups) Of(key ...string) int {
	if group := g.found[strings.Join(key, "\x00")]; group != nil {
		return group.Clients
	}
	return 0
}

// Total returns the sum of all groups.
func (g *Groups) Total() Group { return g.total }

// Sorted returns the groups, the largest first. The caller must not change them.
func (g *Groups) Sorted() []Group {
	if g.list != nil {
		return g.list
	}
	list := make([]Group, 0, len(g.found))
	for _, group := range g.found {
		list = append(list, *group)
	}
	slices.SortFunc(list, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Clients, a.Clients), slices.Compare(a.Key, b.Key))
	})
	g.list = list
	return list
}

// Unnamed is a service whose clients have no names and hold most connections of a server, split
// further.
type Unnamed struct {
	Service     string   // as Client.Service
	Connections int      // of the service
	Total       int      // of all services
	By          []string // the fields of Groups: process, or others that differ
	Groups      *Groups
	Culprit     string         // the largest part of it, in words
	Size        int            // connections of the culprit
	Doing       string         // what the connections of the culprit do
	Program     string         // of the culprit; empty: unknown
	Parts       []UnnamedParts // the service by each field
}

// UnnamedParts are the connections of a service by one field.
type UnnamedParts struct {
	By     string
	Groups []Group // the largest first
}

const (
	unnamedShare = 0.8    // of all connections
	unnamedLeast = 10     // connections
	unnamedMost  = 20_000 // clients that are kept to find their processes
	commonShare  = 0.8    // of a service: a value that describes it
)

// unnamedList collects the clients without a name.
type unnamedList struct {
	ownName string // of the connection that reads the list
	own     Client
	clients []Client
	cut     bool // there are more
	here    bool // the server runs in this process: any client on this machine does for own
}

// isOwn reports whether a client is the connection that shows how the server sees this machine.
func (l *unnamedList) isOwn(c *Client) bool {
	if l.here {
		ip := net.ParseIP(c.Host())
		return l.own.Addr == "" && ip.IsLoopback()
	}
	return c.Name == l.ownName && c.Name != ""
}

func (l *unnamedList) add(c *Client) {
	switch {
	case c.Name != "":
	case len(l.clients) < unnamedMost:
		l.clients = append(l.clients, *c)
	default:
		l.cut = true
	}
}

// split returns the service without names that holds most connections, or nil.
func (l *unnamedList) split(services *Groups) *Unnamed {
	by := map[string]int{}
	for i := range l.clients {
		by[l.clients[i].Service()]++
	}
	for service, n := range by {
		total := services.Total().Clients
		if l.cut {
			total = len(l.clients)
		}
		if n >= unnamedLeast && float64(n) > unnamedShare*float64(total) {
			l.clients = slices.DeleteFunc(l.clients, func(c Client) bool { return c.Service() != service })
			NameProcesses(&l.own, l.clients)
			u := &Unnamed{Service: service, Connections: n, Total: total}
			u.split(l.clients)
			return u
		}
	}
	return nil
}

// split groups the clients by each field, and by the field that tells most.
func (u *Unnamed) split(clients []Client) {
	for _, by := range []string{"process", "cmd", "user", "lib", "addr", "age"} {
		g := newGroups(by)
		for i := range clients {
			g.Add(&clients[i])
		}
		if by == "process" && g.Of("(unknown)") > len(clients)/2 {
			continue // of other machines, or of other users
		}
		u.Parts = append(u.Parts, UnnamedParts{by, g.Sorted()})
		if by != "age" && len(g.found) > 1 && !slices.Contains(u.By, "process") {
			u.By = append(u.By, by)
		}
		if by == "process" {
			u.By = []string{by}
		}
	}
	if len(u.By) == 0 {
		u.By = []string{"cmd"}
	}
	u.Groups = newGroups(u.By...)
	for i := range clients {
		u.Groups.Add(&clients[i])
	}
	u.Groups.Sorted() // sorts now, so that concurrent reads are safe
	u.name(clients)
}

// name finds the culprit: the program with most connections, or what most connections have in
// common.
func (u *Unnamed) name(clients []Client) {
	pids := map[string]map[int]int{}
	for i := range clients {
		if p := clients[i].Process; p.PID != 0 {
			if pids[p.Program] == nil {
				pids[p.Program] = map[int]int{}
			}
			pids[p.Program][p.PID]++
		}
	}
	if u.By[0] == "process" {
		sizes := map[string]int{}
		for program, of := range pids {
			for _, n := range of {
				sizes[program] += n
			}
		}
		programs := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
			return cmp.Or(cmp.Compare(sizes[b], sizes[a]), cmp.Compare(a, b))
		})
		u.Program = programs[0]
		of := pids[u.Program]
		list := slices.SortedFunc(maps.Keys(of), func(a, b int) int { return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b)) })
		one := float64(of[list[0]]) >= commonShare*float64(sizes[u.Program])
		u.Culprit = Process{Program: u.Program, PID: list[0]}.String()
		if !one {
			u.Culprit = fmt.Sprintf("%s, %d processes, the largest pid %d", u.Program, len(list), list[0])
		}
		clients = slices.DeleteFunc(slices.Clone(clients), func(c Client) bool {
			return c.Process.Program != u.Program || one && c.Process.PID != list[0]
		})
	} else {
		var common []string
		for _, p := range u.Parts {
			g := p.Groups[0]
			value := keys[p.By]
			if g.Key[0] == "(unknown)" || float64(g.Clients) < commonShare*float64(u.Connections) || "("+g.Key[0]+")" == u.Service {
				continue
			}
			common = append(common, partTitle[p.By]+" "+g.Key[0])
			clients = slices.DeleteFunc(slices.Clone(clients), func(c Client) bool { return value(&c) != g.Key[0] })
		}
		u.Culprit = u.Service
		if len(common) > 0 {
			u.Culprit += " with " + strings.Join(common, ", ")
		}
	}
	u.Size, u.Doing = len(clients), doing(clients)
}

// Label returns the name of a service, with the program that opened most of its connections if it
// has no names and the program is known. u may be nil.
func (u *Unnamed) Label(service string) string {
	if u == nil || u.Program == "" || service != u.Service {
		return service
	}
	return strings.TrimSuffix(service, ")") + ": " + u.Culprit + ")"
}

// partTitle names the fields in words.
var partTitle = map[string]string{"process": "process", "cmd": "last command", "user": "user", "lib": "library", "addr": "address", "age": "age"}

// doing describes what most clients do: all idle after GET.
func doing(clients []Client) string {
	count := map[string]int{}
	for i := range clients {
		count[clients[i].doing()]++
	}
	list := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
	})
	if len(list) == 1 {
		return "all " + list[0]
	}
	var parts []string
	for _, text := range list[:min(len(list), 2)] {
		parts = append(parts, fmt.Sprintf("%d %s", count[text], text))
	}
	return strings.Join(parts, ", ")
}

func (c *Client) doing() string {
	command := strings.ToUpper(strings.ReplaceAll(c.Command, "|", " "))
	switch {
	case command == "" || command == "NULL":
		return "without a command yet"
	case c.Blocked():
		return "blocked in " + command
	case c.Subscribed():
		return "subscribed"
	case c.Idle < time.Second:
		return "active with " + command
	}
	return "idle after " + command
}
