package live

import (
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/internal/gateway/observe"
)

// observed is what hurts a gateway: its own slow log, hot keys and large replies.
type observed struct {
	SlowText string     `json:"slow_text"`
	Slow     []slowRow  `json:"slow"`
	HotText  string     `json:"hot_text"`
	Hot      []hotRow   `json:"hot"`
	BigText  string     `json:"big_text"`
	Big      []largeRow `json:"big"`
}

// slowRow is a slow command. It took the longest time in the part that Longest names.
type slowRow struct {
	At      float64 `json:"at"` // seconds since 1970
	Command string  `json:"command"`
	Client  string  `json:"client"`
	Queue   string  `json:"queue"`
	Server  string  `json:"server"`
	Write   string  `json:"write"`
	Longest string  `json:"longest"`
	Reply   string  `json:"reply"`
}

type hotRow struct {
	Key     string `json:"key"`
	Share   string `json:"share"`
	Uses    string `json:"uses"`
	Command string `json:"command"`
}

// largeRow is a command with large replies.
type largeRow struct {
	Command string  `json:"command"`
	Largest string  `json:"largest"`
	Count   uint64  `json:"count"`
	Sum     string  `json:"sum"`
	Last    float64 `json:"last"` // seconds since 1970
}

// observedShown is how many entries of each kind are listed.
const observedShown = 10

func (b *builder) observed() *observed {
	if b.p.cfg.Observed == nil {
		return nil
	}
	r := b.p.cfg.Observed(observedShown)
	return &observed{slowText(&r), slowRows(r.Slow), hotText(&r), hotRows(&r), bigText(&r), largeRows(r.Big)}
}

func slowText(r *observe.Report) string {
	switch {
	case r.SlowThreshold <= 0 && len(r.Slow) > 0:
		return "off, so these are old: slow_threshold is none; slow_threshold: 10ms in the section serve turns the slow log on"
	case r.SlowThreshold <= 0:
		return "off: slow_threshold is none; slow_threshold: 10ms in the section serve turns the slow log on"
	case len(r.Slow) == 0:
		return fmt.Sprintf("no command took %v or longer since the start or the last RESPOOL SLOW RESET", r.SlowThreshold)
	}
	return fmt.Sprintf("the newest of %s that took %v or longer, with the time until they were sent, until their reply, and until the client had taken it",
		output.Count(int(r.SlowCount), "command"), r.SlowThreshold)
}

func slowRows(list []observe.SlowEntry) []slowRow {
	rows := []slowRow{}
	for i := range list {
		e := &list[i]
		row := slowRow{At: seconds(e.At), Command: cell(e.Command), Client: cell(fmt.Sprintf("%d %s %s", e.Client, e.Addr, e.User)),
			Queue: millis(e.Queue), Server: millis(e.Server), Write: millis(e.Write), Longest: "queue", Reply: output.Bytes(int64(e.Reply))}
		if e.Server >= e.Queue {
			row.Longest = "server"
		}
		if e.Write > max(e.Queue, e.Server) {
			row.Longest = "write"
		}
		rows = append(rows, row)
	}
	return rows
}

// millis formats the time of a command.
func millis(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func hotText(r *observe.Report) string {
	switch {
	case !r.HotKeys && len(r.Hot) > 0:
		return "off, so these are old: hot_keys is false; hot_keys: true in the section serve turns them on"
	case !r.HotKeys:
		return "off: hot_keys is false; hot_keys: true in the section serve turns them on"
	case r.HotUses == 0:
		return fmt.Sprintf("no key was counted yet: 1 of %d commands is", observe.Sample)
	}
	return fmt.Sprintf("the keys that are used most since %s; 1 of %d commands is counted, with %s so far",
		r.HotSince.Format("15:04:05"), observe.Sample, output.Count(int(r.HotUses), "key"))
}

func hotRows(r *observe.Report) []hotRow {
	rows := []hotRow{}
	for i := range r.Hot {
		k := &r.Hot[i]
		sure := k.Count - k.Error
		row := hotRow{Key: cell(k.Key), Share: fmt.Sprintf("%.1f%%", 100*float64(sure)/float64(max(r.HotUses, 1))),
			Uses: "about " + output.Grouped(int(sure*observe.Sample)), Command: cell(k.Command)}
		if k.Error > 0 {
			row.Uses += " to " + output.Grouped(int(k.Count*observe.Sample))
		}
		rows = append(rows, row)
	}
	return rows
}

func bigText(r *observe.Report) string {
	least := output.Bytes(observe.LeastBig)
	switch {
	case !r.HotKeys && len(r.Big) > 0:
		return "off, so these are old: hot_keys is false; hot_keys: true in the section serve turns them on"
	case !r.HotKeys:
		return "off: hot_keys is false; hot_keys: true in the section serve turns them on"
	case len(r.Big) == 0:
		return "no reply had " + least + " or more since the start or the last RESPOOL BIG RESET"
	}
	return "the commands with the largest replies, of those of " + least + " or more"
}

func largeRows(list []observe.BigReply) []largeRow {
	rows := []largeRow{}
	for i := range list {
		e := &list[i]
		rows = append(rows, largeRow{cell(e.Command), output.Bytes(int64(e.Largest)), e.Count, output.Bytes(int64(e.Bytes)), seconds(e.Last)})
	}
	return rows
}
