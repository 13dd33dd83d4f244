package respool

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// parseSentinelURL reads
//
//	redis+sentinel://user:password@host:26379,host:26379/service/db?keys
//
// Its authority has several hosts, which net/url does not support.
func parseSentinelURL(rawURL string) (Options, error) {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	user, hosts := "", authority
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		user, hosts = authority[:i+1], authority[i+1:]
	}
	u, err := parsePlain(scheme + "://" + user + "sentinels" + tail)
	if err != nil {
		return Options{}, err
	}
	o := Options{Sentinel: &SentinelOptions{}}
	err = o.fromSentinelURL(u, hosts)
	return o, hidePassword(err, u)
}

func (o *Options) fromSentinelURL(u *url.URL, hosts string) error {
	var err error
	if o.Sentinel.Addrs, err = sentinelAddrs(hosts); err != nil {
		return err
	}
	o.Username = u.User.Username()
	o.Password, _ = u.User.Password()
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

// sentinelAddrs reads host:port,host:port. The port is optional.
func sentinelAddrs(hosts string) ([]string, error) {
	const want = "host:port of each sentinel, with commas between, such as s1:26379,s2:26379"
	var addrs []string
	for one := range strings.SplitSeq(hosts, ",") {
		if one == "" {
			return nil, urlError("it names no sentinel, or an empty one", want)
		}
		addr := one
		if _, _, err := net.SplitHostPort(one); err != nil {
			addr = net.JoinHostPort(strings.Trim(one, "[]"), defaultSentinelPort)
		}
		addr, zone, ok := withZone(addr)
		if !ok || checkAddr("tcp", addr) != nil || strings.ContainsAny(strings.Replace(addr, zone, "", 1), " %\"'@") {
			return nil, urlError("sentinel "+quoted(one)+" is no address", want)
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
	"max_replica_lag":      timeKey(func(o *Options) *time.Duration { return &o.MaxReplicaLag }),
	"sentinel_ssl": func(_ *Options, t *tlsKeys, key, value string) (err error) {
		if t.sentinels, err = boolean(key, value); err == nil && t.sentinels && !t.enabled {
			return urlError("sentinel_ssl=true requires TLS", "the scheme rediss+sentinel")
		}
		return err
	},
	"role": func(o *Options, _ *tlsKeys, key, value string) error {
		for r := RolePrimary; r <= RolePreferReplica; r++ {
			if r.String() == value {
				o.Role = r
				return nil
			}
		}
		return keyError(key, value, "primary, replica or prefer-replica")
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

// sentinelsRequired returns the error for a key that requires sentinels.
func sentinelsRequired(key string) error {
	return urlError(fmt.Sprintf("key %s goes with sentinels", key), "the scheme redis+sentinel or rediss+sentinel")
}
