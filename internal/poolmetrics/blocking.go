package poolmetrics

import "github.com/seed-2b0d76a6/respool"

// Blocking returns the measures of all blocking commands of a client. The caller must not change
// them.
func Blocking() []Source[respool.BlockingStats] { return blocking }

var blocking = []Source[respool.BlockingStats]{
	{Measure{"respool.pool.blocked_keys", "{key}", "Keys that blocking commands wait for.", Level, ""},
		one(func(s *respool.BlockingStats) int64 { return count(s.Keys) })},
	{Measure{"respool.pool.key_watchers", "{connection}", "Connections that watch keys for blocking commands, 0 or 1.", Level, ""},
		one(func(s *respool.BlockingStats) int64 { return flag(s.Watching) })},
	{Measure{"respool.pool.key_changes", "{change}", "Changes of keys that the server reported to blocking commands.", Counter, ""},
		one(func(s *respool.BlockingStats) int64 { return total(s.Invalidations) })},
	{Measure{"respool.pool.key_watch_reconnects", "{connection}", "Connections that replaced a lost one that watched keys.", Counter, ""},
		one(func(s *respool.BlockingStats) int64 { return total(s.Reconnects) })},
	{Measure{"respool.pool.blocking_dedicated", "{client}", "Whether blocking commands use dedicated connections because the server does not report changes of keys, 1 or 0.", Level, ""},
		one(func(s *respool.BlockingStats) int64 { return flag(s.Refusal != nil) })},
}

// Commands returns the measures of each blocking command. AttrCommand names the command. The caller
// must not change them.
func Commands() []Source[respool.BlockingCount] { return commands }

var commands = []Source[respool.BlockingCount]{
	{Measure{"respool.pool.blocked", "{command}", "Blocking commands that wait without a dedicated connection.", Level, ""},
		one(func(c *respool.BlockingCount) int64 { return count(c.Waiting) })},
	{Measure{"respool.pool.blocked_ended", "{command}", "Waits of blocking commands that ended, by outcome.", Counter, attrEnd}, []Reading[respool.BlockingCount]{
		{"served", func(c *respool.BlockingCount) int64 { return total(c.Served) }},
		{"timed_out", func(c *respool.BlockingCount) int64 { return total(c.TimedOut) }},
		{"canceled", func(c *respool.BlockingCount) int64 { return total(c.Canceled) }},
		{"failed", func(c *respool.BlockingCount) int64 { return total(c.Failed) }},
	}},
	{Measure{"respool.pool.blocked_longest", "s", "The longest wait of a blocking command that has ended.", Highest, ""},
		one(func(c *respool.BlockingCount) int64 { return int64(c.Longest) })},
	{Measure{"respool.pool.blocked_tries", "{command}", "Commands sent to find data for blocking commands.", Counter, ""},
		one(func(c *respool.BlockingCount) int64 { return total(c.Tries) })},
	{Measure{"respool.pool.blocked_spurious_tries", "{command}", "Tries that found no data, after the first one of their wait.", Counter, ""},
		one(func(c *respool.BlockingCount) int64 { return total(c.Spurious) })},
	{Measure{"respool.pool.elements_given_back", "{element}", "Elements that no caller took any more and that returned to their key.", Counter, ""},
		one(func(c *respool.BlockingCount) int64 { return total(c.GivenBack) })},
	{Measure{"respool.pool.elements_dropped", "{reply}", "Replies of BLMOVE, BRPOPLPUSH and XREADGROUP for which no caller was left; their data is still on the server.", Counter, ""},
		one(func(c *respool.BlockingCount) int64 { return total(c.Dropped) })},
	{Measure{"respool.pool.elements_lost", "{element}", "Elements that could not return to their key, and tries that were sent and had no reply.", Counter, ""},
		one(func(c *respool.BlockingCount) int64 { return total(c.Lost) })},
}
