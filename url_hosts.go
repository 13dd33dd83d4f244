package respool

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// parseHostsURL reads
//
//	redis+sentinel://user:password@host:26379,host:26379/service/db?keys
//	redis+cluster://user:password@host:6379,host:6379?keys
//
// Their authority has several hosts, which net/url does not support.
func parseHostsURL(rawURL string) (Options, error) {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	user, hosts := "", authority
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		user, hosts = authority[:i+1], authority[i+1:]
	}
	u, err := parsePlain(scheme + "://" + user + "several" + tail)
	if err != nil {
		return Options{}, err
	}
	o := Options{Username: u.User.Username()}
	o.Password, _ = u.User.Password()
	if strings.HasSuffix(scheme, "+cluster") {
		o.Cluster = &ClusterOptions{}
		err = o.fromClusterURL(u, hosts)
	} else {
		o.Sentinel = &SentinelOptions{}
		err = o.fromSentinelURL(u, hosts)
	}
	return o, hidePassword(err, u)
}

func (o *Options) fromClusterURL(u *url.URL, hosts string) error {
	var err error
	if o.Cluster.Addrs, err = hostList(hosts, "node", defaultPort); err != nil {
		return err
	}
	if path := strings.Trim(u.Path, "/"); path != "" && path != "0" {
		return urlError("path "+quoted(u.Path)+" names a database other than 0", "no path: a cluster has one database")
	}
	t := &tlsKeys{enabled: u.Scheme == "rediss+cluster"}
	if err := o.fromQuery(u, t, false); err != nil {
		return err
	}
	o.TLS, o.TLSFiles, err = t.config()
	return err
}

func (o *Options) fromSentinelURL(u *url.URL, hosts string) error {
	var err error
	if o.Sentinel.Addrs, err = hostList(hosts, "sentinel", defaultSentinelPort); err != nil {
		return err
	}
	name, db, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	if o.Service, err = url.PathUnescape(name); err != nil || name == "" {
		return urlError("path "+quoted(u.Path)+" names no service", "/name or /name/db, such as /mymaster/0")
	}
	if db != "" {
		if o.DB, err = strconv.Atoi(db); err != nil || o.DB < 0 {
			return urlError(quoted(db)+" in the path is no database", "/name/N with the number of the database")
		}
	}
	t := &tlsKeys{enabled: u.Scheme == "rediss+sentinel"}
	t.sentinels = t.enabled
	if err := o.fromQuery(u, t, db != ""); err != nil {
		return err
	}
	if o.TLS, o.TLSFiles, err = t.config(); err != nil {
		return err
	}
	if t.sentinels {
		o.Sentinel.TLS, o.Sentinel.TLSFiles, err = t.config()
	}
	return err
}

// hostList reads host:port,host:port. what is the kind of the hosts. The port is optional.
func hostList(hosts, what, defaultPort string) ([]string, error) {
	want := fmt.Sprintf("host:port of each %s, with commas between, such as host1:%s,host2:%[2]s", what, defaultPort)
	var addrs []string
	for one := range strings.SplitSeq(hosts, ",") {
		if one == "" {
			return nil, urlError("it names no "+what+", or an empty one", want)
		}
		addr := one
		if _, _, err := net.SplitHostPort(one); err != nil {
			addr = net.JoinHostPort(strings.Trim(one, "[]"), defaultPort)
		}
		addr, zone, ok := withZone(addr)
		if !ok || checkAddr("tcp", addr) != nil || strings.ContainsAny(strings.Replace(addr, zone, "", 1), " %\"'@") {
			return nil, urlError(what+" "+quoted(one)+" is no address", want)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// withZone decodes the zone of an IPv6 address, as in [fe80::1%25eth0]:26379.
func withZone(addr string) (decoded, zone string, ok bool) {
	host, port, err := net.SplitHostPort(addr)
	ip, escaped, has := strings.Cut(host, "%25")
	if err != nil || !has || !strings.Contains(ip, ":") {
		return addr, "", err == nil
	}
	zone, err = url.PathUnescape(escaped)
	if err != nil || zone == "" || strings.ContainsAny(zone, " %\"'@[]/") {
		return addr, "", false
	}
	return net.JoinHostPort(ip+"%"+zone, port), "%" + zone, true
}

// sentinelKeys are the additional keys of URLs with sentinels.
var sentinelKeys = map[string]setter{
	"sentinel_username":    sentinelText(func(s *SentinelOptions) *string { return &s.Username }),
	"sentinel_password":    sentinelText(func(s *SentinelOptions) *string { return &s.Password }),
	"sentinel_client_name": sentinelText(func(s *SentinelOptions) *string { return &s.ClientName }),
	"min_other_sentinels":  integer(0, func(o *Options) *int { return &o.Sentinel.MinOtherSentinels }),
	"sentinel_timeout":     timeKey(func(o *Options) *time.Duration { return &o.Sentinel.Timeout }),
	"poll_interval":        timeKey(func(o *Options) *time.Duration { return &o.Sentinel.PollInterval }),
	"drain_limit":          timeKey(func(o *Options) *time.Duration { return &o.Sentinel.DrainLimit }),
	"hold_limit":           limitKey(func(o *Options) *time.Duration { return &o.Sentinel.HoldLimit }),
	"sentinel_ssl": func(_ *Options, t *tlsKeys, key, value string) (err error) {
		if t.sentinels, err = boolean(key, value); err == nil && t.sentinels && !t.enabled {
			return urlError("sentinel_ssl=true requires TLS", "the scheme rediss+sentinel")
		}
		return err
	},
}

// roleKeys are the additional keys of URLs with sentinels and of URLs of clusters.
var roleKeys = map[string]setter{
	"max_replica_lag": timeKey(func(o *Options) *time.Duration { return &o.MaxReplicaLag }),
	"role": func(o *Options, _ *tlsKeys, key, value string) error {
		for r := RolePrimary; r <= RolePreferReplica; r++ {
			if r.String() == value {
				o.Role = r
				return nil
			}
		}
		want := "primary, replica or prefer-replica"
		if value == "nearest" {
			want += ", with replica_choice=nearest for the replicas of the lowest latency"
		}
		return keyError(key, value, want)
	},
	"replica_choice": func(o *Options, _ *tlsKeys, key, value string) error {
		if value != "turn" && value != "nearest" {
			return keyError(key, value, "turn or nearest")
		}
		o.Nearest = value == "nearest"
		return nil
	},
}

func sentinelText(field func(*SentinelOptions) *string) setter {
	return func(o *Options, _ *tlsKeys, key, value string) error {
		*field(o.Sentinel) = value
		return nil
	}
}

// schemeRequired returns the error for a key that requires another scheme.
func schemeRequired(key string) error {
	switch {
	case roleKeys[key] != nil:
		return urlError(fmt.Sprintf("key %s goes with sentinels or a cluster", key), "the scheme redis+sentinel, rediss+sentinel, redis+cluster or rediss+cluster")
	case sentinelKeys[key] != nil:
		return urlError(fmt.Sprintf("key %s goes with sentinels", key), "the scheme redis+sentinel or rediss+sentinel")
	}
	return urlError(fmt.Sprintf("key %s goes with a cluster", key), "the scheme redis+cluster or rediss+cluster")
}

// isExtraKey reports whether a key goes with URLs with several hosts.
func isExtraKey(key string) bool {
	return roleKeys[key] != nil || sentinelKeys[key] != nil || clusterKeys[key] != nil
}

// clusterKeys are the additional keys of URLs of clusters.
var clusterKeys = map[string]setter{
	"cross_slot": func(o *Options, _ *tlsKeys, key, value string) error {
		for c := CrossSlotSplit; c <= CrossSlotRefuse; c++ {
			if c.String() == value {
				o.Cluster.CrossSlot = c
				return nil
			}
		}
		return keyError(key, value, "split, reads or refuse")
	},
	"max_connections_total": integer(0, func(o *Options) *int { return &o.Cluster.MaxConnectionsTotal }),
	"query_timeout":         timeKey(func(o *Options) *time.Duration { return &o.Cluster.QueryTimeout }),
	"drain_limit":           timeKey(func(o *Options) *time.Duration { return &o.Cluster.DrainLimit }),
	"map_addr": func(o *Options, _ *tlsKeys, key, value string) error {
		addrs := map[string]string{}
		for pair := range strings.SplitSeq(value, ",") {
			from, to, _ := strings.Cut(pair, "=")
			if checkAddr("tcp", from) != nil || checkAddr("tcp", to) != nil {
				return keyError(key, value, "announced=reachable for each node, with commas between, such as 10.0.0.1:6379=192.0.2.1:7001")
			}
			addrs[from] = to
		}
		o.Cluster.MapAddr = func(addr string) string { return cmp.Or(addrs[addr], addr) }
		return nil
	},
}

// extraKey returns the setter of an additional key of a URL with several hosts.
func (o *Options) extraKey(key string) (set setter, ok bool) {
	switch {
	case o.Sentinel != nil:
		set, ok = sentinelKeys[key]
	case o.Cluster != nil:
		set, ok = clusterKeys[key]
	default:
		return nil, false
	}
	if !ok {
		set, ok = roleKeys[key]
	}
	return set, ok
}
