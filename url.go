package respool

import (
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseURL returns the options of a URL such as
//
//	redis://user:password@host:6379/0?max_connections=16&socket_timeout=2
//
// The schemes are redis, rediss (TLS) and unix (unix:///path?db=0). With sentinels they are
// redis+sentinel and rediss+sentinel:
//
//	redis+sentinel://user:password@s1:26379,s2:26379/service/0?sentinel_password=...
//
// With a Redis Cluster they are redis+cluster and rediss+cluster:
//
//	redis+cluster://user:password@h1:6379,h2:6379?max_connections=8
//
// User and password belong to the data nodes. The keys are those of redis-py and some additional
// ones; docs/options.md lists them all. Times are seconds (2 or 2.5) or Go durations (2s). ParseURL
// reads the files that the URL names. An unknown key, a repeated key or an invalid value is an
// error that names it. Errors never show a password.
func ParseURL(rawURL string) (Options, error) {
	o, err := parseURL(rawURL)
	if err != nil {
		return Options{}, err
	}
	if _, err := o.withDefaults(); err != nil {
		return Options{}, err
	}
	return o, nil
}

func parseURL(rawURL string) (Options, error) {
	scheme, _, ok := strings.Cut(rawURL, "://")
	if !ok {
		return Options{}, urlError("it has no scheme", "redis://host:port/db, rediss://... or unix:///path")
	}
	switch scheme {
	case "redis", "rediss", "unix":
	case "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster":
		return parseHostsURL(rawURL)
	default:
		return Options{}, urlError(fmt.Sprintf("scheme %s is not supported", quoted(scheme)), "redis, rediss or unix, or one of the first two with +sentinel or +cluster")
	}
	u, err := parsePlain(rawURL)
	if err != nil {
		return Options{}, err
	}
	o, err := fromURL(u)
	return o, hidePassword(err, u)
}

func parsePlain(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse contains the whole URL, with its password.
		return nil, urlError("it can't be parsed", "special characters in user, password and values as %XX, and a port in digits")
	}
	if u.Fragment != "" || strings.HasSuffix(rawURL, "#") {
		return nil, urlError("it has a fragment (#...)", "none: a # in a password is written as %23")
	}
	return u, nil
}

// hidePassword replaces an error that may contain a part of a password. If a password has an unescaped /
// or ?, a part of it becomes port, path or keys.
func hidePassword(err error, u *url.URL) error {
	if err != nil && strings.Contains(u.EscapedPath()+u.RawQuery, "@") {
		return urlError("a part of it is not valid, and not shown since an @ after the host may end a password",
			"/ as %2F, ? as %3F, # as %23 and @ as %40 in user, password and values")
	}
	return err
}

func fromURL(u *url.URL) (Options, error) {
	o := Options{Username: u.User.Username()}
	o.Password, _ = u.User.Password()
	from := o.fromHost
	if u.Scheme == "unix" {
		from = o.fromSocket
	}
	if err := from(u); err != nil {
		return Options{}, err
	}
	tls := &tlsKeys{enabled: u.Scheme == "rediss"}
	if err := o.fromQuery(u, tls, u.Scheme != "unix" && strings.Trim(u.Path, "/") != ""); err != nil {
		return Options{}, err
	}
	var err error
	o.TLS, o.TLSFiles, err = tls.config()
	return o, err
}

func urlError(found, want string) error {
	return fmt.Errorf("respool: URL: %s: want %s", found, want)
}

func keyError(key, value, want string) error {
	return fmt.Errorf("respool: URL key %s is %s: want %s", key, quoted(value), want)
}

// quoted quotes a part of the URL. It hides a part with an @, which may be the rest of an unescaped
// password.
func quoted(part string) string {
	if strings.Contains(part, "@") {
		return "not shown, since it holds an @ (in user and password write / as %2F, ? as %3F, # as %23 and @ as %40)"
	}
	return fmt.Sprintf("%.60q", part)
}

func (o *Options) fromSocket(u *url.URL) error {
	o.Network, o.Addr = "unix", u.Path
	if u.Host != "" || u.Path == "" || u.Path == "/" {
		return urlError("it names no socket", "unix:///path/to/socket")
	}
	return nil
}

func (o *Options) fromHost(u *url.URL) error {
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = defaultPort
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return urlError(fmt.Sprintf("port %.20q is out of range", port), "1 to 65535")
	}
	o.Addr = net.JoinHostPort(host, port)
	path := strings.TrimPrefix(u.Path, "/")
	if path == "" {
		return nil
	}
	db, err := strconv.Atoi(path)
	if err != nil || db < 0 {
		return urlError("path "+quoted(u.Path)+" is no database", "/N with the number of the database, such as /0")
	}
	o.DB = db
	return nil
}

// fromQuery sets the options of the query's keys. dbInPath states that the path names the database.
func (o *Options) fromQuery(u *url.URL, tls *tlsKeys, dbInPath bool) error {
	seen, pathDB := map[string]bool{}, o.DB
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if pair == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(pair, "=")
		key, kerr := url.QueryUnescape(rawKey)
		value, verr := url.QueryUnescape(rawValue)
		if kerr != nil || verr != nil {
			return urlError("the query's key "+quoted(rawKey)+" can't be decoded", "special characters as %XX")
		}
		set, ok := urlKeys[key]
		if !ok {
			set, ok = o.extraKey(key)
		}
		switch {
		case !ok && isExtraKey(key):
			return schemeRequired(key)
		case !ok:
			return unknownKey(key)
		}
		if seen[key] {
			return urlError("key "+key+" is given twice", "it once")
		}
		seen[key] = true
		if err := set(o, tls, key, value); err != nil {
			return err
		}
	}
	if dbInPath && o.DB != pathDB {
		return urlError(fmt.Sprintf("the path says database %d and key db %d", pathDB, o.DB), "one of them")
	}
	return nil
}

func unknownKey(key string) error {
	known := slices.Concat(slices.Collect(maps.Keys(urlKeys)), slices.Collect(maps.Keys(sentinelKeys)), slices.Collect(maps.Keys(clusterKeys)), slices.Collect(maps.Keys(roleKeys)))
	slices.Sort(known)
	known = slices.Compact(known)
	best, distance := "", min(4, len(key)/3+2)
	for _, k := range known {
		if d := editDistance(strings.ToLower(key), k); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return fmt.Errorf("respool: URL key %s is unknown: did you mean %s?", quoted(key), best)
	}
	return fmt.Errorf("respool: URL key %s is unknown: want one of %s", quoted(key), strings.Join(known, ", "))
}

// editDistance returns the number of letters to change, add or drop between a and b.
func editDistance(a, b string) int {
	if len(a) > 60 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// setter applies one key of the URL.
type setter func(o *Options, tls *tlsKeys, key, value string) error

// urlKeys are the keys of a URL's query.
var urlKeys = map[string]setter{
	"db":       integer(0, func(o *Options) *int { return &o.DB }),
	"username": text(func(o *Options) *string { return &o.Username }),
	"password": text(func(o *Options) *string { return &o.Password }),
	"protocol": func(o *Options, _ *tlsKeys, key, value string) error {
		if value != "2" && value != "3" {
			return keyError(key, value, "2 or 3")
		}
		o.Protocol = int(value[0] - '0')
		return nil
	},
	"client_name": text(func(o *Options) *string { return &o.ClientName }),

	"max_connections": integer(1, func(o *Options) *int { return &o.MaxConnections }),
	"lanes":           integer(1, func(o *Options) *int { return &o.Lanes }),
	"min_idle":        integer(0, func(o *Options) *int { return &o.MinIdle }),
	"max_waiters":     integer(0, func(o *Options) *int { return &o.MaxWaiters }),
	"max_blocked":     integer(1, func(o *Options) *int { return &o.MaxBlocked }),
	"blocking": func(o *Options, _ *tlsKeys, key, value string) error {
		for b := BlockingShared; b <= BlockingDedicated; b++ {
			if value == b.String() {
				o.Blocking = b
				return nil
			}
		}
		return keyError(key, value, "shared or dedicated")
	},
	"window_commands":     integer(1, func(o *Options) *int { return &o.WindowCommands }),
	"dial_parallel":       integer(1, func(o *Options) *int { return &o.DialParallel }),
	"subscription_buffer": integer(1, func(o *Options) *int { return &o.SubscriptionBuffer }),
	"retries": func(o *Options, tls *tlsKeys, key, value string) error {
		err := integer(0, func(o *Options) *int { return &o.Retries })(o, tls, key, value)
		if err == nil && o.Retries == 0 {
			o.Retries = NoRetries
		}
		return err
	},
	"dial_rate": func(o *Options, _ *tlsKeys, key, value string) error {
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || !(f > 0) || math.IsInf(f, 0) {
			return keyError(key, value, "dials a second, more than 0")
		}
		o.DialRate = f
		return nil
	},

	"socket_timeout":         limitKey(func(o *Options) *time.Duration { return &o.SocketTimeout }),
	"socket_connect_timeout": limitKey(func(o *Options) *time.Duration { return &o.ConnectTimeout }),
	"timeout":                limitKey(func(o *Options) *time.Duration { return &o.WaitTimeout }),
	"health_check_interval":  limitKey(func(o *Options) *time.Duration { return &o.HealthCheckInterval }),
	"idle_timeout":           limitKey(func(o *Options) *time.Duration { return &o.IdleTimeout }),
	"max_lifetime":           limitKey(func(o *Options) *time.Duration { return &o.MaxLifetime }),
	"stall_limit":            limitKey(func(o *Options) *time.Duration { return &o.StallLimit }),
	"keepalive":              limitKey(func(o *Options) *time.Duration { return &o.KeepAlive }),
	"linger_limit":           timeKey(func(o *Options) *time.Duration { return &o.LingerLimit }),
	"backoff_base":           timeKey(func(o *Options) *time.Duration { return &o.BackoffBase }),
	"backoff_cap":            timeKey(func(o *Options) *time.Duration { return &o.BackoffCap }),
	"leak_threshold": func(o *Options, tls *tlsKeys, key, value string) error {
		err := limitKey(func(o *Options) *time.Duration { return &o.LeakThreshold })(o, tls, key, value)
		if err == nil && o.LeakThreshold == Never {
			o.LeakThreshold = 0
		}
		return err
	},
	"socket_keepalive": func(o *Options, _ *tlsKeys, key, value string) error {
		on, err := boolean(key, value)
		if err == nil && !on {
			o.KeepAlive = Never
		}
		return err
	},

	"reply_limit": sizeKey(func(o *Options, n int64) { o.ReplyLimit = n }),
	"window_bytes": sizeKey(func(o *Options, n int64) {
		o.WindowBytes = int(min(n, math.MaxInt))
	}),

	"ssl_cert_reqs":      tlsKey(func(t *tlsKeys) *string { return &t.requirements }),
	"ssl_ca_certs":       tlsKey(func(t *tlsKeys) *string { return &t.ca }),
	"ssl_certfile":       tlsKey(func(t *tlsKeys) *string { return &t.cert }),
	"ssl_keyfile":        tlsKey(func(t *tlsKeys) *string { return &t.key }),
	"ssl_check_hostname": tlsKey(func(t *tlsKeys) *string { return &t.checkName }),
	"ssl_min_version":    tlsKey(func(t *tlsKeys) *string { return &t.minVersion }),
}

func text(field func(*Options) *string) setter {
	return func(o *Options, _ *tlsKeys, key, value string) error {
		p := field(o)
		if *p != "" && *p != value {
			return urlError(key+" is given twice, before the host and as a key", "it once")
		}
		*p = value
		return nil
	}
}

func integer(least int, field func(*Options) *int) setter {
	return func(o *Options, _ *tlsKeys, key, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < least {
			return keyError(key, value, fmt.Sprintf("a whole number, %d or more", least))
		}
		*field(o) = n
		return nil
	}
}

// limitKey reads a time, or none or 0 to disable the limit.
func limitKey(field func(*Options) *time.Duration) setter {
	return func(o *Options, _ *tlsKeys, key, value string) error {
		if d, err := duration(value); value == "none" || err == nil && d == 0 {
			*field(o) = Never
			return nil
		}
		d, err := duration(value)
		if err != nil || d < time.Millisecond {
			return keyError(key, value, "seconds such as 2.5, a duration such as 2s, of 1ms or more, or none")
		}
		*field(o) = d
		return nil
	}
}

func timeKey(field func(*Options) *time.Duration) setter {
	return func(o *Options, _ *tlsKeys, key, value string) error {
		d, err := duration(value)
		if err != nil || d < time.Millisecond {
			return keyError(key, value, "seconds such as 2.5 or a duration such as 2s, of 1ms or more")
		}
		*field(o) = d
		return nil
	}
}

// duration reads seconds or a Go duration.
func duration(value string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(value, 64); err == nil {
		if !(f >= 0 && f < math.MaxInt64/1e9) {
			return 0, strconv.ErrRange
		}
		return time.Duration(f * float64(time.Second)), nil
	}
	return time.ParseDuration(value)
}

func sizeKey(set func(*Options, int64)) setter {
	return func(o *Options, _ *tlsKeys, key, value string) error {
		digits, unit := value, int64(1)
		for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
			if d, ok := strings.CutSuffix(value, suffix); ok {
				digits, unit = d, n
			}
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 1 || n > math.MaxInt64/unit {
			return keyError(key, value, "bytes, or a number with KiB, MiB or GiB")
		}
		set(o, n*unit)
		return nil
	}
}
