// Package commands finds the commands that delay a server, and their senders. It reads the replies
// to INFO commandstats and SLOWLOG GET. It sends nothing, and starts no goroutines.
package commands

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// Stat counts the calls of a command since the server started.
type Stat struct {
	Calls int64
	Time  time.Duration
}

// ParseStats reads the reply to INFO commandstats. It returns nil if the reply has no such section.
func ParseStats(info string) map[string]Stat {
	var stats map[string]Stat
	for line := range strings.Lines(info) {
		name, fields, ok := strings.Cut(strings.TrimPrefix(strings.TrimRight(line, "\r\n"), "cmdstat_"), ":")
		if !ok || !strings.HasPrefix(line, "cmdstat_") {
			continue
		}
		if stats == nil {
			stats = map[string]Stat{}
		}
		var s Stat
		for field := range strings.SplitSeq(fields, ",") {
			key, value, _ := strings.Cut(field, "=")
			n, _ := strconv.ParseInt(value, 10, 64)
			switch key {
			case "calls":
				s.Calls = n
			case "usec":
				s.Time = time.Duration(min(max(n, 0), maxMicros)) * time.Microsecond
			}
		}
		stats[strings.ToLower(name)] = s
	}
	return stats
}

// maxMicros limits the times that a server claims, so that sums do not overflow.
const maxMicros = 100 * 365 * 24 * 3600 * 1e6

// Slow is an entry of the slow log.
type Slow struct {
	ID      int64         `json:"id"`
	At      time.Time     `json:"at"` // by the server's clock
	Took    time.Duration `json:"took_ns"`
	Command string        `json:"cmd"`            // in lower case, with its subcommand after a |
	Key     string        `json:"key,omitempty"`  // the key or the pattern, of commands that have no secrets there; may be empty
	Addr    string        `json:"addr,omitempty"` // the sender's
	Name    string        `json:"name,omitempty"` // the name of the sender's connection; may be empty
}

// ParseSlow reads the reply to SLOWLOG GET. Entries of servers before Redis 4.0 have no sender.
func ParseSlow(reply respool.Reply) ([]Slow, error) {
	entries, err := reply.Array()
	if err != nil {
		return nil, err
	}
	var list []Slow
	for _, entry := range entries {
		s, err := parseSlow(entry)
		if err != nil {
			return nil, fmt.Errorf("read an entry of SLOWLOG: %w", err)
		}
		if s.Addr != fromScript {
			list = append(list, s)
		}
	}
	return list, nil
}

func parseSlow(entry respool.Reply) (s Slow, err error) {
	fields, err := entry.Array()
	if err != nil {
		return s, err
	}
	if len(fields) < 4 {
		return s, fmt.Errorf("it has %d fields: want 4 or more", len(fields))
	}
	var numbers [3]int64
	for i := range numbers {
		if numbers[i], err = fields[i].Int64(); err != nil {
			return s, err
		}
	}
	args, err := fields[3].Texts()
	if err != nil {
		return s, err
	}
	s.ID, s.At = numbers[0], time.Unix(numbers[1], 0)
	s.Took = time.Duration(min(max(numbers[2], 0), maxMicros)) * time.Microsecond
	s.Command, s.Key = nameOf(args)
	if len(fields) >= 6 {
		s.Addr, _ = fields[4].Text()
		s.Name, _ = fields[5].Text()
	}
	return s, nil
}

// fromScript is the sender of commands that a script calls. The script has an entry with their time and its sender.
const fromScript = "?:0"

// containers are the commands with subcommands.
var containers = map[string]bool{"acl": true, "client": true, "cluster": true, "command": true, "config": true, "function": true,
	"latency": true, "memory": true, "module": true, "object": true, "pubsub": true, "script": true, "slowlog": true,
	"xgroup": true, "xinfo": true, "debug": true}

// keyed are the commands whose first argument is a key or a pattern, and no secret.
var keyed = map[string]bool{"keys": true, "smembers": true, "hgetall": true, "hkeys": true, "hvals": true, "lrange": true, "zrange": true,
	"zrangebyscore": true, "sort": true, "sunion": true, "sinter": true, "sdiff": true, "sunionstore": true, "zunionstore": true,
	"zinterstore": true, "del": true, "unlink": true}

// longestKey limits the part of a key that is shown.
const longestKey = 40

func nameOf(args []string) (command, key string) {
	if len(args) == 0 {
		return "", ""
	}
	command = strings.ToLower(args[0])
	switch {
	case containers[command] && len(args) > 1:
		command += "|" + strings.ToLower(args[1])
	case keyed[command] && len(args) > 1:
		if key = args[1]; len(key) > longestKey {
			key = key[:longestKey] + "..."
		}
	}
	return command, key
}
