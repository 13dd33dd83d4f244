// Package clients lists the connections of a server, grouped, and closes the ones that match a
// filter. It reads the list once; package top shows how connections change. It starts no
// goroutines.
package clients

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Filter selects connections of CLIENT LIST. A connection has to match every field that is set.
type Filter struct {
	ID      int64
	Service string
	Name    string
	Lib     string
	Addr    string
	User    string
	Cmd     string
	Idle    time.Duration
	Age     time.Duration
}

// IsSet reports whether any field is set.
func (f *Filter) IsSet() bool { return *f != Filter{} }

func (f *Filter) Matches(c *monitor.Client) bool {
	return (f.ID == 0 || c.ID == f.ID) &&
		(f.Service == "" || c.Service() == f.Service) &&
		(f.Name == "" || c.Name == f.Name) &&
		(f.Lib == "" || c.Lib == f.Lib || strings.HasPrefix(c.Lib, f.Lib+"(")) &&
		(f.Addr == "" || c.Addr == f.Addr || c.Host() == f.Addr) &&
		(f.User == "" || c.User == f.User) &&
		(f.Cmd == "" || strings.EqualFold(c.Command, f.Cmd)) &&
		(f.Idle == 0 || c.Idle >= f.Idle && !c.Blocked() && !c.Subscribed()) &&
		(f.Age == 0 || c.Age >= f.Age)
}

// String describes the filter in words.
func (f *Filter) String() string {
	var parts []string
	if f.ID != 0 {
		parts = append(parts, fmt.Sprintf("id %d", f.ID))
	}
	for _, p := range []struct{ name, value string }{{"service", f.Service}, {"name", f.Name}, {"lib", f.Lib}, {"addr", f.Addr}, {"user", f.User}, {"cmd", f.Cmd}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	if f.Idle > 0 {
		parts = append(parts, "idle "+f.Idle.String())
	}
	if f.Age > 0 {
		parts = append(parts, "age "+f.Age.String())
	}
	return strings.Join(parts, ", ")
}

// ErrNoFilter reports that no filter is given. Without one, a command would apply to every
// connection.
var ErrNoFilter = errors.New("no filter: want at least one, such as --service cart or --idle 10m")

// sentinelName is the name of a sentinel's connections.
var sentinelName = regexp.MustCompile(`^sentinel-[0-9a-f]{8}-(cmd|pubsub)$`)

// protected reports whether a connection must never be closed: our own, those of replicas, of the
// primary and of sentinels, and MONITOR.
func protected(c *monitor.Client, own string) bool {
	return c.Name == own || c.Replication() || sentinelName.MatchString(c.Name) || strings.Contains(c.Flags, "O") || slices.Contains([]string{"sync", "psync", "replconf"}, c.Command)
}
