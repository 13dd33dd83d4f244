package respool

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSentinelURLs(t *testing.T) {
	o, err := ParseURL("redis+sentinel://app:s%2Fcret@s1:26380,s2,[::1]:26379,[::2]/my%20master/3?max_connections=100" +
		"&sentinel_username=watcher&sentinel_password=other&min_other_sentinels=1&role=prefer-replica&max_replica_lag=2" +
		"&replica_choice=nearest&sentinel_timeout=300ms&poll_interval=5&drain_limit=2s&sentinel_client_name=a:s")
	if err == nil {
		t.Fatalf("a service with a space in its name was taken: %+v", o)
	}
	o, err = ParseURL("redis+sentinel://app:s%2Fcret@s1:26380,s2,[::1]:26379,[::2]/my%2Fmaster/3?max_connections=100" +
		"&sentinel_username=watcher&sentinel_password=other&min_other_sentinels=1&role=prefer-replica&max_replica_lag=2" +
		"&replica_choice=nearest&sentinel_timeout=300ms&poll_interval=5&drain_limit=2s&sentinel_client_name=a:s")
	if err != nil {
		t.Fatal(err)
	}
	s := o.Sentinel
	if want := []string{"s1:26380", "s2:26379", "[::1]:26379", "[::2]:26379"}; !slices.Equal(s.Addrs, want) {
		t.Errorf("sentinels %q: want %q", s.Addrs, want)
	}
	if o.Service != "my/master" || o.DB != 3 || o.Username != "app" || o.Password != "s/cret" || o.MaxConnections != 100 ||
		o.Role != RolePreferReplica || o.MaxReplicaLag != 2*time.Second || !o.Nearest || o.TLS != nil {
		t.Errorf("got %+v, with password %q", o, o.Password)
	}
	if s.Username != "watcher" || s.Password != "other" || s.ClientName != "a:s" || s.MinOtherSentinels != 1 ||
		s.Timeout != 300*time.Millisecond || s.PollInterval != 5*time.Second || s.DrainLimit != 2*time.Second || s.TLS != nil {
		t.Errorf("got %+v, with password %q", s, s.Password)
	}
	if text := o.String() + s.String(); strings.Contains(text, "cret") || strings.Contains(text, "other") {
		t.Errorf("a password shows in %s", text)
	}
}

func TestSentinelURLsWithTLS(t *testing.T) {
	for url, sentinels := range map[string]bool{
		"rediss+sentinel://s1/m":                    true,
		"rediss+sentinel://s1/m?sentinel_ssl=false": false,
	} {
		o, err := ParseURL(url)
		if err != nil || o.TLS == nil || (o.Sentinel.TLS != nil) != sentinels {
			t.Errorf("%s: TLS %v, at the sentinels %v, error %v", url, o.TLS != nil, o.Sentinel != nil && o.Sentinel.TLS != nil, err)
		}
	}
}

func TestBadSentinelURLsAreNamed(t *testing.T) {
	for url, want := range map[string]string{
		"redis+sentinel://s1:26379":                       "names no service",
		"redis+sentinel://s1/":                            "names no service",
		"redis+sentinel:///m":                             "names no sentinel",
		"redis+sentinel://s1,,s2/m":                       "an empty one",
		"redis+sentinel://s1:port/m":                      `sentinel "s1:port" is no address`,
		"redis+sentinel://s1:0/m":                         `sentinel "s1:0" is no address`,
		"redis+sentinel://s1/m/zero":                      `"zero" in the path is no database`,
		"redis+sentinel://s1/m/1/2":                       `"1/2" in the path is no database`,
		"redis+sentinel://s1/m/1?db=2":                    "the path says database 1 and key db 2",
		"redis+sentinel://s1/m?role=master":               `role is "master": want primary, replica or prefer-replica`,
		"redis+sentinel://s1/m?max_replica_lag=1":         "Role",
		"redis+sentinel://s1/m?replica_choice=best":       "turn or nearest",
		"redis+sentinel://s1/m?min_other_sentinels=-1":    "0 or more",
		"redis+sentinel://s1/m?sentinel_ssl=true":         "the scheme rediss+sentinel",
		"redis+sentinel://s1/m?sentinel_passwort=x":       "did you mean sentinel_password?",
		"redis+sentinel://s1/m?sentinel_username=x":       "Sentinel.Password is empty",
		"redis+sentinel://s1/m?sentinel_timeout=9h":       "1h or less",
		"redis+sentinel://s1/m?role=replica#x":            "fragment",
		"redis://h?role=replica":                          "key role goes with sentinels or a cluster: want the scheme redis+sentinel",
		"redis+sentinel://u:hush/hush@s1/m":               "not shown",
		"redis+sentinel://u:hush?hush@s1/m":               "not shown",
		"redis+sentinel://u:p%zz@s1/m":                    "can't be parsed",
		"redis+sentinel://s1/m?sentinel_password=a%zz":    "can't be decoded",
		"redis+sentinel://s1/m?sentinel_client_name=a%20": "Sentinel.ClientName",
	} {
		_, err := ParseURL(url)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "respool: ") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v: want %s", url, err, want)
		}
	}
}

func TestOptionsOfServicesAreChecked(t *testing.T) {
	s := &SentinelOptions{Addrs: []string{"s1:26379"}}
	for want, o := range map[string]Options{
		"option Service is empty":               {Sentinel: s},
		"option Addr is":                        {Sentinel: s, Service: "m", Addr: "h:1"},
		"option Sentinel.Addrs is empty":        {Sentinel: &SentinelOptions{}, Service: "m"},
		`option Sentinel.Addrs is "s1"`:         {Sentinel: &SentinelOptions{Addrs: []string{"s1"}}, Service: "m"},
		"option Role is role 7":                 {Sentinel: s, Service: "m", Role: 7},
		"option Sentinel is nil":                {Role: RoleReplica},
		"option MaxReplicaLag is 1ms":           {Sentinel: s, Service: "m", Role: RoleReplica, MaxReplicaLag: time.Millisecond},
		"option Sentinel.MinOtherSentinels":     {Sentinel: &SentinelOptions{Addrs: s.Addrs, MinOtherSentinels: -1}, Service: "m"},
		"option Sentinel.PollInterval is 1ms":   {Sentinel: &SentinelOptions{Addrs: s.Addrs, PollInterval: time.Millisecond}, Service: "m"},
		"option Sentinel.Timeout is 2h0m0s":     {Sentinel: &SentinelOptions{Addrs: s.Addrs, Timeout: 2 * time.Hour}, Service: "m"},
		"option Sentinel.ClientName is \"a b\"": {Sentinel: &SentinelOptions{Addrs: s.Addrs, ClientName: "a b"}, Service: "m"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v: want %s", o, err, want)
		}
	}
}
