package respool

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each key sets its own option. The values differ, so that a key that sets the option of another one is found.
func TestEachKeyOfAURLSetsItsOption(t *testing.T) {
	const plain, sentinel = "redis://h:1?", "redis+sentinel://h:1/main?"
	tested := map[string]bool{}
	for _, x := range []struct {
		url, key, value, option string
		want                    any
	}{
		{plain, "db", "3", "DB", 3},
		{plain + "password=p&", "username", "u", "Username", "u"},
		{plain, "protocol", "2", "Protocol", 2},
		{plain, "client_name", "app", "ClientName", "app"},
		{plain, "max_connections", "11", "MaxConnections", 11},
		{plain, "lanes", "12", "Lanes", 12},
		{plain, "min_idle", "13", "MinIdle", 13},
		{plain, "max_waiters", "14", "MaxWaiters", 14},
		{plain, "max_blocked", "15", "MaxBlocked", 15},
		{plain, "blocking", "dedicated", "Blocking", BlockingDedicated},
		{plain, "window_commands", "16", "WindowCommands", 16},
		{plain, "dial_parallel", "17", "DialParallel", 17},
		{plain, "subscription_buffer", "18", "SubscriptionBuffer", 18},
		{plain, "retries", "19", "Retries", 19},
		{plain, "retries", "0", "Retries", NoRetries},
		{plain, "dial_rate", "20.5", "DialRate", 20.5},
		{plain, "socket_timeout", "21", "SocketTimeout", 21 * time.Second},
		{plain, "socket_connect_timeout", "22", "ConnectTimeout", 22 * time.Second},
		{plain, "timeout", "23", "WaitTimeout", 23 * time.Second},
		{plain, "health_check_interval", "24", "HealthCheckInterval", 24 * time.Second},
		{plain, "idle_timeout", "25", "IdleTimeout", 25 * time.Second},
		{plain, "max_lifetime", "26", "MaxLifetime", 26 * time.Second},
		{plain, "stall_limit", "27", "StallLimit", 27 * time.Second},
		{plain, "keepalive", "28", "KeepAlive", 28 * time.Second},
		{plain, "linger_limit", "29", "LingerLimit", 29 * time.Second},
		{plain, "backoff_base", "30ms", "BackoffBase", 30 * time.Millisecond},
		{plain, "backoff_cap", "31s", "BackoffCap", 31 * time.Second},
		{plain, "leak_threshold", "32", "LeakThreshold", 32 * time.Second},
		{plain, "socket_keepalive", "false", "KeepAlive", Never},
		{plain, "reply_limit", "33KiB", "ReplyLimit", int64(33 << 10)},
		{plain, "window_bytes", "34KiB", "WindowBytes", 34 << 10},
		{sentinel + "sentinel_password=p&", "sentinel_username", "watcher", "Sentinel.Username", "watcher"},
		{sentinel, "sentinel_password", "secret", "Sentinel.Password", "secret"},
		{sentinel, "sentinel_client_name", "finder", "Sentinel.ClientName", "finder"},
		{sentinel, "min_other_sentinels", "2", "Sentinel.MinOtherSentinels", 2},
		{sentinel, "sentinel_timeout", "35", "Sentinel.Timeout", 35 * time.Second},
		{sentinel, "poll_interval", "36", "Sentinel.PollInterval", 36 * time.Second},
		{sentinel, "drain_limit", "37", "Sentinel.DrainLimit", 37 * time.Second},
		{sentinel, "hold_limit", "38", "Sentinel.HoldLimit", 38 * time.Second},
		{sentinel, "role", "prefer-replica", "Role", RolePreferReplica},
		{sentinel + "role=replica&", "max_replica_lag", "39", "MaxReplicaLag", 39 * time.Second},
		{sentinel + "role=replica&", "replica_choice", "nearest", "Nearest", true},
	} {
		tested[x.key] = true
		url := x.url + x.key + "=" + x.value
		o, err := ParseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got := optionAt(&o, x.option); got != x.want {
			t.Errorf("%s: option %s is %v, want %v", url, x.option, got, x.want)
		}
	}
	// Other tests cover these, which need TLS or a certain order of keys.
	others := []string{"password", "sentinel_ssl", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_min_version"}
	for _, keys := range []map[string]setter{urlKeys, sentinelKeys, roleKeys} {
		for key := range keys {
			if !tested[key] && !slices.Contains(others, key) {
				t.Errorf("no test sets %s", key)
			}
		}
	}
}

// optionAt returns the value of a field, such as Sentinel.Timeout.
func optionAt(o *Options, path string) any {
	v := reflect.ValueOf(o)
	for name := range strings.SplitSeq(path, ".") {
		v = reflect.Indirect(v).FieldByName(name)
	}
	return v.Interface()
}

func TestAnUnknownKeyIsNamedWithTheNearestOne(t *testing.T) {
	long := strings.Repeat("x", 61)
	for key, want := range map[string]string{
		"max_conections": "did you mean max_connections?",
		"color":          "want one of ",
		long:             "want one of ",
	} {
		if _, err := ParseURL("redis://h?" + key + "=1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", key, err, want)
		}
	}
}
