package monitor

import (
	"net"
	"strconv"
	"strings"
)

// Info is a parsed reply to INFO. It does not change, so concurrent use is safe.
type Info struct{ fields map[string]string }

// ParseInfo parses the text of INFO, of any sections. It skips lines that are not fields. The last
// value of a repeated field counts.
func ParseInfo(text string) Info {
	i := Info{fields: map[string]string{}}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if name, value, ok := strings.Cut(line, ":"); ok && name != "" {
			i.fields[name] = value
		}
	}
	return i
}

// Text returns a field, or "" if it is missing.
func (i Info) Text(name string) string { return i.fields[name] }

// Int returns a field as an integer. ok is false if it is missing or not an integer.
func (i Info) Int(name string) (int64, bool) {
	n, err := strconv.ParseInt(i.fields[name], 10, 64)
	return n, err == nil
}

// Float returns a field as a number. ok is false if it is missing or not a number.
func (i Info) Float(name string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(i.fields[name], "%"), 64)
	return f, err == nil
}

// The fields that no Redis reports: the servers behind a gateway of respool, which a probe adds, and the mark of the embedded
// server.
const (
	fieldGateway  = "respool_gateway"
	fieldEmbedded = "respool_embedded"
)

// Gateway returns the addresses of the servers behind a gateway of respool. ok is false if no gateway was queried. The list is
// empty if the user may not see it.
func (i Info) Gateway() (servers []string, ok bool) {
	text, ok := i.fields[fieldGateway]
	return strings.Fields(text), ok
}

// Embedded reports whether the server is the one inside respool.
func (i Info) Embedded() bool { return i.fields[fieldEmbedded] != "" }

// Server returns the kind and version of the server, such as "Valkey 8.1.0".
func (i Info) Server() string {
	text := i.version()
	if i.Embedded() {
		text = "respool's embedded server"
	}
	if _, ok := i.Gateway(); ok {
		text = "a gateway of respool to " + text
	}
	return text
}

func (i Info) version() string {
	if v := i.fields["valkey_version"]; v != "" {
		return "Valkey " + v
	}
	if v := i.fields["redis_version"]; v != "" {
		return "Redis " + v
	}
	return "unknown server"
}

// Connections returns the number of connections that count against maxclients: clients, replicas
// and the other nodes of a cluster. ok is false if the server reports none of them.
func (i Info) Connections() (n int64, ok bool) {
	for _, name := range []string{"connected_clients", "connected_slaves", "cluster_connections"} {
		if one, there := i.Int(name); there {
			n, ok = n+one, true
		}
	}
	return n, ok
}

// MaxClients returns the server's limit. ok is false if the server does not report it.
func (i Info) MaxClients() (int64, bool) {
	n, ok := i.Int("maxclients")
	return n, ok && n > 0
}

// assumedLimit returns the connection limit that the provider documents, and the source of that
// number. It is for servers that do not report their limit.
func assumedLimit(addr string, info Info) (limit int64, source string) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	switch {
	case strings.HasSuffix(host, ".cache.amazonaws.com"), strings.HasSuffix(host, ".cache.amazonaws.com.cn"):
		return 65_000, "Amazon ElastiCache, for each node"
	case strings.HasSuffix(host, ".redis.cache.windows.net"):
		memory, ok := info.Int("maxmemory")
		if !ok || memory <= 0 {
			return 0, ""
		}
		for _, tier := range azureTiers {
			if memory <= tier.memory {
				return tier.limit, "Azure Cache for Redis, standard tier of that memory"
			}
		}
	}
	return 0, ""
}

// azureTiers are the standard tiers, C0 to C6. Premium tiers accept more, so these limits are
// conservative.
var azureTiers = []struct{ memory, limit int64 }{
	{300 << 20, 256}, {1 << 30, 1000}, {5 << 29, 2000}, {6 << 30, 5000}, {13 << 30, 10_000}, {26 << 30, 15_000}, {53 << 30, 20_000},
}
