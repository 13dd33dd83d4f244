package monitor

import (
	"cmp"
	"fmt"
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
