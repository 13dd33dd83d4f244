package monitor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bounds contains the default connection limit of a library, by its name.
var bounds = map[string]string{
	"redis-py":   "it has no limit by default: each command in flight takes a connection; set max_connections",
	"go-redis":   "its pool keeps 10 for each CPU (PoolSize), and opens more under load unless MaxActiveConns limits it",
	"rueidis":    "it opens up to 1024 for blocking commands (BlockingPoolSize)",
	"jedis":      "its pool holds 8 by default (maxTotal)",
	"lettuce":    "it shares one for each client object; a pool around it holds 8 by default (maxTotal)",
	"node-redis": "it opens one for each client object: check how many there are",
	"ioredis":    "it opens one for each client object: check how many there are",
}

// naming contains the setting that names connections, by library: in lower case, as it reports
// itself to the server.
var naming = map[string]string{
	"redis-py":   "client_name= in redis-py (redis.Redis, ConnectionPool, or ?client_name= in the URL)",
	"go-redis":   "ClientName in go-redis (redis.Options)",
	"rueidis":    "ClientName in rueidis (ClientOption)",
	"redigo":     "DialClientName in redigo",
	"jedis":      "clientName in Jedis (DefaultJedisClientConfig)",
	"lettuce":    "clientName in Lettuce (RedisURI)",
	"redisson":   "clientName in Redisson",
	"node-redis": "name in node-redis (createClient)",
	"ioredis":    "connectionName in ioredis",
	"redis-rb":   "id: in redis-rb",
	"se.redis":   "ClientName in StackExchange.Redis (name= in its configuration string)",
	"respool":    "client_name= in the URL of respool",
}

// runtimes lists the libraries of a program, by the beginning of its name.
var runtimes = []struct {
	program string
	libs    []string
}{
	{"python", []string{"redis-py"}}, {"pypy", []string{"redis-py"}}, {"gunicorn", []string{"redis-py"}}, {"uwsgi", []string{"redis-py"}},
	{"celery", []string{"redis-py"}}, {"node", []string{"ioredis", "node-redis"}}, {"bun", []string{"ioredis", "node-redis"}},
	{"deno", []string{"ioredis", "node-redis"}}, {"java", []string{"jedis", "lettuce", "redisson"}}, {"ruby", []string{"redis-rb"}},
	{"dotnet", []string{"se.redis"}},
}

// namingRemedy tells which setting names the connections of a library, or of the libraries that a
// program may use.
func namingRemedy(lib, program string) string {
	const value = "service:instance:pool"
	name, _, _ := strings.Cut(strings.ToLower(lib), " ")
	name, _, _ = strings.Cut(name, "(") // go-redis appends its platform
	var settings []string
	if text := naming[name]; text != "" {
		settings = []string{text}
	}
	for _, r := range runtimes {
		if len(settings) == 0 && strings.HasPrefix(program, r.program) {
			for _, lib := range r.libs {
				settings = append(settings, naming[lib])
			}
		}
	}
	if len(settings) == 0 {
		settings = []string{"client_name= in redis-py, connectionName in ioredis, name in node-redis, ClientName in go-redis, clientName in Jedis and Lettuce"}
	}
	return "name the connections " + value + ": " + strings.Join(settings, ", or ") + "; in others, send CLIENT SETNAME after connecting"
}

// shownParts is how many values of a field a finding names.
const shownParts = 3

// Summary names the largest part of the service, its size, and what its connections do.
func (u *Unnamed) Summary() string {
	return fmt.Sprintf("%s: %d of %d connections, %s", u.Culprit, u.Size, u.Total, u.Doing)
}

// Divisions tell how the connections divide by each field that is known.
func (u *Unnamed) Divisions() (list []string) {
	for _, p := range u.Parts {
		if p.By == "lib" && u.lib() == "" || p.By == "addr" && len(p.Groups) == 1 {
			continue
		}
		var parts []string
		for _, g := range p.Groups[:min(len(p.Groups), shownParts)] {
			parts = append(parts, fmt.Sprintf("%d %s", g.Clients, g.Key[0]))
		}
		if more := len(p.Groups) - shownParts; more > 0 {
			parts = append(parts, fmt.Sprintf("and %d more", more))
		}
		list = append(list, fmt.Sprintf("by %s: %s", partTitle[p.By], strings.Join(parts, ", ")))
	}
	return list
}

// Naming tells which setting names the connections.
func (u *Unnamed) Naming() string { return namingRemedy(u.lib(), u.Program) }

// lib returns the library of most connections; empty if it is unknown.
func (u *Unnamed) lib() string {
	for _, p := range u.Parts {
		if p.By == "lib" && p.Groups[0].Key[0] != "(unknown)" {
			return p.Groups[0].Key[0]
		}
	}
	return ""
}

// unnamed names the largest part of a service without names, and adds it to the findings about
// that service.
func (d *diagnosis) unnamed() {
	u := d.after.Unnamed
	if u == nil {
		return
	}
	f := Finding{Rule: "unnamed", Severity: Note, Subject: u.Service,
		What:     u.Summary(),
		Evidence: strings.Join(append([]string{fmt.Sprintf("%s holds %d connections without a name", u.Service, u.Connections)}, u.Divisions()...), "; "),
		Remedy:   u.Naming() + "; list them: respool who URL --by " + strings.Join(u.By, ",")}
	for i := range d.found {
		if one := &d.found[i]; one.Subject == u.Service {
			one.What = strings.Replace(one.What, u.Service, u.Label(u.Service), 1)
		}
	}
	d.add(f)
}

// broken lists versions that keep unused connections.
var broken = []struct{ lib, from, to, what, where string }{
	{"redis-py", "5.0.0", "5.0.1", "connections of clients that are not closed explicitly stay open", "redis-py 5.0.2"},
}

const (
	idlePoolLeast = 20  // connections: smaller pools do not matter
	idlePoolShare = 0.8 // share of connections that are idle for a minute or longer
	youngPool     = 5 * time.Minute
)

// libraries finds pools that are much larger than their use, and libraries with known faults.
func (d *diagnosis) libraries() {
	if d.after.Owners == nil {
		return
	}
	reported := map[string]bool{}
	for _, g := range d.after.Owners.Sorted() {
		service, lib := g.Key[0], g.Key[1]
		name, version, _ := strings.Cut(lib, " ")
		name, _, _ = strings.Cut(name, "(") // go-redis appends its platform
		d.oversized(&g, service, name)
		for _, b := range broken {
			if b.lib != name || !between(b.from, version, b.to) || reported[service+lib] {
				continue
			}
			reported[service+lib] = true
			d.add(Finding{Rule: "library", Severity: Warn, Subject: service,
				What:     fmt.Sprintf("%s uses %s: %s", service, lib, b.what),
				Evidence: fmt.Sprintf("%d connections of that version", g.Clients),
				Remedy:   "upgrade to " + b.where + " or later"})
		}
	}
}

func (d *diagnosis) oversized(g *Group, service, lib string) {
	if g.Clients < idlePoolLeast || float64(g.Idle) < idlePoolShare*float64(g.Clients) || g.Oldest < youngPool {
		return
	}
	if slices.ContainsFunc(d.found, func(f Finding) bool { return f.Subject == service }) {
		return // a more severe finding exists
	}
	f := Finding{Rule: "oversized", Severity: Note, Subject: service,
		What:     fmt.Sprintf("%s keeps %d connections and used %d of them in the last minute", service, g.Clients, g.Clients-g.Idle),
		Evidence: fmt.Sprintf("%d have been idle for a minute or longer, the longest for %v", g.Idle, g.LongestIdle),
		Remedy:   "size the pool by its load: respool plan"}
	if text := bounds[lib]; text != "" {
		f.Evidence += "; " + lib + ": " + text
	}
	d.add(f)
}

// between compares versions number by number.
func between(from, version, to string) bool {
	if version == "" {
		return false
	}
	return !older(version, from) && !older(to, version)
}

func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if x, y := part(as, i), part(bs, i); x != y {
			return x < y
		}
	}
	return false
}

// part returns the i-th number of a version. Text that is not a number counts as 0.
func part(version []string, i int) int {
	if i >= len(version) {
		return 0
	}
	digits := strings.TrimLeftFunc(version[i], func(r rune) bool { return r < '0' || r > '9' })
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	n, _ := strconv.Atoi(digits)
	return n
}
