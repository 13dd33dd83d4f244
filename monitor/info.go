package monitor

import (
	"strconv"
	"strings"
)

// Info is what INFO told. It is not changed.
type Info struct{ fields map[string]string }

// ParseInfo reads the text of INFO, of any sections. Lines that are no fields
// are passed over; of a field that is there twice the last one counts.
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

// Text gives a field, or nothing where it is not there.
func (i Info) Text(name string) string { return i.fields[name] }

// Int gives a whole number, and whether there is one.
func (i Info) Int(name string) (int64, bool) {
	n, err := strconv.ParseInt(i.fields[name], 10, 64)
	return n, err == nil
}

// Float gives a number, and whether there is one.
func (i Info) Float(name string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(i.fields[name], "%"), 64)
	return f, err == nil
}

// Server names the server's kind and version, such as "Valkey 8.1.0".
func (i Info) Server() string {
	if v := i.fields["valkey_version"]; v != "" {
		return "Valkey " + v
	}
	if v := i.fields["redis_version"]; v != "" {
		return "Redis " + v
	}
	return "unknown server"
}

// Connections is what counts against maxclients: clients, replicas and the
// other nodes of a cluster. ok is false where the server tells none of them.
func (i Info) Connections() (n int64, ok bool) {
	for _, name := range []string{"connected_clients", "connected_slaves", "cluster_connections"} {
		if one, there := i.Int(name); there {
			n, ok = n+one, true
		}
	}
	return n, ok
}

// MaxClients is the server's limit, and whether it tells.
func (i Info) MaxClients() (int64, bool) {
	n, ok := i.Int("maxclients")
	return n, ok && n > 0
}
