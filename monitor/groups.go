package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// idleLong is from when on a connection that does nothing is called idle.
const idleLong = time.Minute

// Group is the connections that have something in common.
type Group struct {
	Key         []string // the values, in the order in which they were asked for
	Clients     int
	Blocked     int
	Subscribed  int
	Active      int           // idle for less than a second, and neither blocked nor subscribed
	Idle        int           // idle for a minute or longer, and neither blocked nor subscribed
	Oldest      time.Duration // the age of the oldest
	LongestIdle time.Duration
	Memory      int64 // of all of them at the server, in bytes, where that is told

	unused unused
}

// unused are connections that were used when they were opened and never since.
type unused struct {
	n                int
	oldest, youngest time.Duration
	ages             time.Duration // the sum
}

const (
	unusedAge   = 5 * time.Second // younger ones may be used yet
	unusedSlack = 2 * time.Second // a connection is used for so long when it is opened
)

func (u *unused) add(age time.Duration) {
	if u.n == 0 || age < u.youngest {
		u.youngest = age
	}
	u.oldest = max(u.oldest, age)
	u.ages += age
	u.n++
}

// spread is between the first and the last one, if they were opened one after
// the other; else 0: those of a pool that was filled at its start are of one age.
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

// keys are what clients may be grouped by.
var keys = map[string]func(*Client) string{
	"service": (*Client).Service,
	"name":    func(c *Client) string { return cmp.Or(c.Name, "(no name)") },
	"lib":     func(c *Client) string { return cmp.Or(strings.TrimSpace(c.Lib+" "+c.LibVersion), "(not told)") },
	"addr":    (*Client).Host,
	"user":    func(c *Client) string { return cmp.Or(c.User, "(not told)") },
	"cmd":     func(c *Client) string { return cmp.Or(c.Command, "(none)") },
	"db":      func(c *Client) string { return fmt.Sprint(c.DB) },
}

// Keys lists what clients may be grouped by.
func Keys() []string {
	var names []string
	for k := range keys {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// Groups counts clients by what they have in common. It holds the groups, not
// the clients. Those of a Snapshot may be read by many at a time; else it is not
// safe for concurrent use.
type Groups struct {
	by    []string
	of    []func(*Client) string
	found map[string]*Group
	total Group
	list  []Group // what Sorted gave last; nil: something was added since
}

// NewGroups groups by the keys given, one at least.
func NewGroups(by ...string) (*Groups, error) {
	for _, k := range by {
		if keys[k] == nil {
			return nil, fmt.Errorf("monitor: clients can't be grouped by %.40q: want some of %s", k, strings.Join(Keys(), ", "))
		}
	}
	if len(by) == 0 {
		return nil, fmt.Errorf("monitor: nothing to group by: want some of %s", strings.Join(Keys(), ", "))
	}
	return newGroups(by...), nil
}

// newGroups groups by keys that exist.
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

// Of is how many clients have this key.
func (g *Groups) Of(key ...string) int {
	if group := g.found[strings.Join(key, "\x00")]; group != nil {
		return group.Clients
	}
	return 0
}

// Total is all clients together.
func (g *Groups) Total() Group { return g.total }

// Sorted gives the groups, the one with the most clients first. They are not to
// be changed.
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
