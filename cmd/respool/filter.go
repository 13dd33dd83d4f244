package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// clientFilter picks connections out of CLIENT LIST. All that is given has to match.
type clientFilter struct {
	Service string        `help:"Only connections of this service, as respool who calls it."`
	Name    string        `help:"Only connections with this name, as CLIENT LIST has it."`
	Lib     string        `help:"Only connections of this library, such as redis-py."`
	Addr    string        `help:"Only connections from this address, with or without a port."`
	User    string        `help:"Only connections of this user."`
	Cmd     string        `help:"Only connections whose last command is this one, such as blpop or client|list."`
	Idle    time.Duration `help:"Only connections that were idle for so long, blocked and subscribed ones left out."`
	Age     time.Duration `help:"Only connections that are open for so long."`
}

// Validate is called by kong.
func (f *clientFilter) Validate() error {
	switch {
	case f.Idle < 0:
		return fmt.Errorf("--idle is %v: want a time such as 10m", f.Idle)
	case f.Age < 0:
		return fmt.Errorf("--age is %v: want a time such as 1h", f.Age)
	}
	return nil
}

// some says whether anything is asked for at all.
func (f *clientFilter) some() bool { return *f != clientFilter{} }

func (f *clientFilter) matches(c *monitor.Client) bool {
	return (f.Service == "" || c.Service() == f.Service) &&
		(f.Name == "" || c.Name == f.Name) &&
		(f.Lib == "" || c.Lib == f.Lib || strings.HasPrefix(c.Lib, f.Lib+"(")) &&
		(f.Addr == "" || c.Addr == f.Addr || c.Host() == f.Addr) &&
		(f.User == "" || c.User == f.User) &&
		(f.Cmd == "" || strings.EqualFold(c.Command, f.Cmd)) &&
		(f.Idle == 0 || c.Idle >= f.Idle && !c.Blocked() && !c.Subscribed()) &&
		(f.Age == 0 || c.Age >= f.Age)
}

// text repeats what was asked for.
func (f *clientFilter) text() string {
	var parts []string
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

// errNoFilter keeps a command from working on all connections there are.
var errNoFilter = errors.New("no filter: want one at least, such as --service cart or --idle 10m")

// Kinds of connections that are never closed by a filter.
func untouchable(c *monitor.Client, own string) bool {
	return c.Name == own || c.Replication() || strings.Contains(c.Flags, "O") || slices.Contains([]string{"sync", "psync", "replconf"}, c.Command)
}
