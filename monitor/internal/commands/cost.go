package commands

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Cost is the time that a command took from the server, which runs one command at a time.
type Cost struct {
	Command string // as INFO commandstats names it: keys, config|get
	Calls   int64
	Time    time.Duration
	Slow    []Slow // its entries in the slow log, the slowest first
	Recent  bool   // it ran between the two looks; otherwise only the slow log shows it
}

// Average returns the time of one call.
func (c *Cost) Average() time.Duration { return c.Time / time.Duration(max(1, c.Calls)) }

// The thresholds of a costly command.
const (
	slowAverage = 10 * time.Millisecond // a call: everybody else waits for this time
	slowTotal   = 50 * time.Millisecond // less time than this is random
	shareLeast  = 0.2                   // of the time between the looks
	shareEach   = time.Millisecond      // a call that takes less is no problem, however many there are
	pastLongest = 100 * time.Millisecond
)

// Costly returns the commands that delayed others for long between two looks, the most expensive
// first, and those that did so before, as the slow log shows. The counts of a look may be nil, if
// they were not read. began is the newest entry of the slow log at the first look.
func Costly(before, after map[string]Stat, log []Slow, began int64, took time.Duration) []Cost {
	found := map[string]*Cost{}
	for name, now := range after {
		was := before[name]
		if before == nil || now.Calls <= was.Calls || now.Time < was.Time {
			continue
		}
		found[name] = &Cost{Command: name, Calls: now.Calls - was.Calls, Time: now.Time - was.Time, Recent: true}
	}
	past := map[string]*Cost{}
	for _, s := range log {
		into, name := found, s.Command
		if s.ID <= began {
			into = past
		}
		if parent, _, sub := strings.Cut(name, "|"); sub && after != nil && after[name] == (Stat{}) {
			name = parent // older servers count commands without their subcommands
		}
		c := into[name]
		if c == nil {
			c = &Cost{Command: name, Recent: s.ID > began}
			into[name] = c
		}
		if c.Slow = append(c.Slow, s); int64(len(c.Slow)) > c.Calls { // INFO did not show these calls
			c.Calls++
			c.Time += s.Took
		}
	}
	var list []Cost
	for _, c := range found {
		if c.costly(took) {
			if p := past[c.Command]; p != nil && len(c.Slow) == 0 { // the first look read the slow log after the counts
				c.Slow = []Slow{slices.MaxFunc(p.Slow, func(a, b Slow) int { return cmp.Compare(a.ID, b.ID) })}
			}
			list = append(list, *c)
			delete(past, c.Command)
		}
	}
	for _, c := range past {
		if slices.ContainsFunc(c.Slow, func(s Slow) bool { return s.Took >= pastLongest }) {
			list = append(list, *c)
		}
	}
	for i := range list {
		slices.SortStableFunc(list[i].Slow, func(a, b Slow) int { return cmp.Compare(b.Took, a.Took) })
	}
	slices.SortFunc(list, func(a, b Cost) int {
		if a.Recent != b.Recent {
			return map[bool]int{true: -1, false: 1}[a.Recent]
		}
		return cmp.Or(cmp.Compare(b.Time, a.Time), strings.Compare(a.Command, b.Command))
	})
	return list
}

func (c *Cost) costly(took time.Duration) bool {
	if slices.Contains(own, c.Command) && len(c.Slow) == 0 {
		return false // a monitor sends it: the slow log tells whose
	}
	if c.Time < slowTotal {
		return false
	}
	return c.Average() >= slowAverage || c.Average() >= shareEach && c.Time.Seconds() >= shareLeast*took.Seconds()
}

// own are the commands of a look, as newer and older servers count them.
var own = []string{"info", "client|list", "client", "config|get", "config", "slowlog|get", "slowlog"}

// remedies tells how to do without commands that take long on large keys.
var remedies = map[string]string{
	"keys":          "replace KEYS by SCAN with COUNT: it takes as long as the database has keys",
	"smembers":      "read the set in parts: SSCAN",
	"hgetall":       "read the hash in parts: HSCAN, or only the fields that are needed: HMGET",
	"hkeys":         "read the hash in parts: HSCAN",
	"hvals":         "read the hash in parts: HSCAN",
	"lrange":        "read shorter ranges of the list",
	"zrange":        "read shorter ranges of the sorted set",
	"zrangebyscore": "read shorter ranges of the sorted set: LIMIT",
	"sort":          "sort in the client, or keep a sorted set",
	"sunion":        "compute it in parts in the client, or on a replica",
	"sinter":        "compute it in parts in the client, or on a replica",
	"sdiff":         "compute it in parts in the client, or on a replica",
	"sunionstore":   "compute it in parts in the client, or on a replica",
	"zunionstore":   "compute it in parts in the client, or on a replica",
	"zinterstore":   "compute it in parts in the client, or on a replica",
	"del":           "delete large keys with UNLINK",
	"flushall":      "add ASYNC",
	"flushdb":       "add ASYNC",
	"save":          "use BGSAVE",
	"eval":          "shorten the script, or split its work into several calls",
	"evalsha":       "shorten the script, or split its work into several calls",
	"fcall":         "shorten the function, or split its work into several calls",
}

// Remedy tells how to do without a command, or to find out why it takes long.
func Remedy(command string) string {
	return cmp.Or(remedies[command], "check the size of the keys it uses: MEMORY USAGE key")
}
