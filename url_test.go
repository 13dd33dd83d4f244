package respool

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

func TestParseURL(t *testing.T) {
	for url, want := range map[string]Options{
		"redis://":                               {Addr: "localhost:6379"},
		"redis://cache":                          {Addr: "cache:6379"},
		"redis://:7000/3":                        {Addr: "localhost:7000", DB: 3},
		"redis://[::1]:7000":                     {Addr: "[::1]:7000"},
		"redis://u:p%40ss@h/":                    {Addr: "h:6379", Username: "u", Password: "p@ss"},
		"redis://:secret@h":                      {Addr: "h:6379", Password: "secret"},
		"redis://h?username=u&password=p":        {Addr: "h:6379", Username: "u", Password: "p"},
		"redis://h?db=2":                         {Addr: "h:6379", DB: 2},
		"redis://h/2?db=2":                       {Addr: "h:6379", DB: 2},
		"redis://h/0?db=0":                       {Addr: "h:6379"},
		"unix:///run/r.sock?db=1":                {Network: "unix", Addr: "/run/r.sock", DB: 1},
		"unix://:pw@/run/r.sock":                 {Network: "unix", Addr: "/run/r.sock", Password: "pw"},
		"redis://h?max_connections=8&min_idle=2": {Addr: "h:6379", MaxConnections: 8, MinIdle: 2},
		"redis://h?socket_timeout=2.5&timeout=300ms&socket_connect_timeout=none": {Addr: "h:6379",
			SocketTimeout: 2500 * time.Millisecond, WaitTimeout: 300 * time.Millisecond, ConnectTimeout: Never},
		"redis://h?health_check_interval=0&socket_keepalive=false&retries=0": {Addr: "h:6379",
			HealthCheckInterval: Never, KeepAlive: Never, Retries: NoRetries},
		"redis://h?reply_limit=1MiB&window_bytes=64KiB&protocol=2&client_name=a:b": {Addr: "h:6379",
			ReplyLimit: 1 << 20, WindowBytes: 64 << 10, Protocol: 2, ClientName: "a:b"},
		"redis://h?blocking=dedicated&max_blocked=7": {Addr: "h:6379", Blocking: BlockingDedicated, MaxBlocked: 7},
		"redis://h?blocking=shared":                  {Addr: "h:6379"},
	} {
		got, err := ParseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if !sameOptions(got, want) {
			t.Errorf("%s: got %+v", url, got)
		}
	}
}

// sameOptions compares what URLs set.
func sameOptions(a, b Options) bool {
	return a.Network == b.Network && a.Addr == b.Addr && a.Username == b.Username && a.Password == b.Password && a.DB == b.DB &&
		a.MaxConnections == b.MaxConnections && a.MinIdle == b.MinIdle && a.SocketTimeout == b.SocketTimeout &&
		a.WaitTimeout == b.WaitTimeout && a.ConnectTimeout == b.ConnectTimeout && a.KeepAlive == b.KeepAlive &&
		a.HealthCheckInterval == b.HealthCheckInterval && a.Retries == b.Retries && a.ReplyLimit == b.ReplyLimit &&
		a.WindowBytes == b.WindowBytes && a.Protocol == b.Protocol && a.ClientName == b.ClientName &&
		a.Blocking == b.Blocking && a.MaxBlocked == b.MaxBlocked
}

func TestBadURLsAreNamed(t *testing.T) {
	for url, want := range map[string]string{
		"localhost:6379":                        "no scheme",
		"http://h":                              `scheme "http" is not supported`,
		"redis://h/abc":                         `path "/abc" is no database`,
		"redis://h/1/2":                         `path "/1/2" is no database`,
		"redis://h/-1":                          `path "/-1" is no database`,
		"redis://h:0":                           "out of range",
		"redis://h:99999":                       "out of range",
		"redis://h:abc":                         "can't be parsed",
		"redis://h#x":                           "fragment",
		"redis://h?max_conections=1":            "did you mean max_connections?",
		"redis://h?MAX_CONNECTIONS=1":           "did you mean max_connections?",
		"redis://h?frobnicate=1":                `"frobnicate" is unknown: want one of`,
		"redis://h?foo=1":                       `"foo" is unknown: want one of`,
		"redis://h?max_connections=0":           `max_connections is "0": want a whole number, 1 or more`,
		"redis://h?max_connections=-4":          `max_connections is "-4"`,
		"redis://h?max_blocked=0":               `max_blocked is "0": want a whole number, 1 or more`,
		"redis://h?blocking=no":                 `blocking is "no": want shared or dedicated`,
		"redis://h?max_connections=many":        `max_connections is "many"`,
		"redis://h?lanes=20&max_connections=4":  "option Lanes is 20",
		"redis://h?socket_timeout=-1":           `socket_timeout is "-1"`,
		"redis://h?socket_timeout=NaN":          `socket_timeout is "NaN"`,
		"redis://h?socket_timeout=1e300":        `socket_timeout is "1e300"`,
		"redis://h?linger_limit=none":           `linger_limit is "none"`,
		"redis://h?reply_limit=9999999999GiB":   "reply_limit is",
		"redis://h?protocol=4":                  `protocol is "4": want 2 or 3`,
		"redis://h?socket_keepalive=perhaps":    "want true or false",
		"redis://h?lanes=1&lanes=2":             "given twice",
		"redis://u:p@h?password=q":              "given twice",
		"redis://h/1?db=2":                      "database 1 and key db 2",
		"redis://h/0?db=2":                      "database 0 and key db 2",
		"redis://h?ssl_ca_certs=x":              "want the scheme rediss",
		"rediss://h?ssl_ca_certs=/no/such/file": "ssl_ca_certs",
		"rediss://h?ssl_certfile=x":             "ssl_keyfile is missing",
		"rediss://h?ssl_ca_certs=":              `ssl_ca_certs is "": want a value`,
		"rediss://h?ssl_cert_reqs=maybe":        "want none, optional or required",
		"rediss://h?ssl_min_version=TLSv1.0":    "want TLSv1.2 or TLSv1.3",
		"rediss://h?ssl_check_hostname=x":       "want true or false",
		"unix://":                               "names no socket",
		"unix://host/path":                      "names no socket",
		"redis://h?client_name=a%20b":           "ClientName",
		"redis://h?x=%zz":                       "can't be decoded",
	} {
		_, err := ParseURL(url)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "respool: ") || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%s: %v: want %s", url, err, want)
		}
	}
}

func TestALeakThresholdOfNoneIsOff(t *testing.T) {
	for value, want := range map[string]time.Duration{"0": 0, "none": 0, "2": 2 * time.Second} {
		o, err := ParseURL("redis://h?leak_threshold=" + value)
		if err != nil || o.LeakThreshold != want {
			t.Errorf("%s: %v, %v: want %v", value, o.LeakThreshold, err, want)
		}
	}
}

func TestAPasswordWithBareDelimitersIsNotShown(t *testing.T) {
	for url, part := range map[string]string{
		"redis://:99876/x@host":      "99876",
		"redis://:123/hush?x@host":   "hush",
		"redis://:123?hush&x@host":   "hush",
		"redis://u:p@w?hush=1&x@h":   "hush",
		"redis://u:p@w/hush@h":       "hush",
		"redis://:hush#hush@host":    "hush",
		"redis://:12?lanes=hush&x@h": "hush",
	} {
		_, err := ParseURL(url)
		if err == nil || strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestTLSKeys(t *testing.T) {
	o, err := ParseURL("rediss://cache.example?ssl_min_version=TLSv1.3&ssl_check_hostname=false")
	if err != nil {
		t.Fatal(err)
	}
	if o.TLS == nil || o.TLS.MinVersion != tls.VersionTLS13 || o.TLS.VerifyConnection == nil {
		t.Errorf("%+v", o.TLS)
	}
	if o, err = ParseURL("rediss://cache.example?ssl_cert_reqs=none"); err != nil || !o.TLS.InsecureSkipVerify || o.TLS.VerifyConnection != nil {
		t.Errorf("%+v, %v", o.TLS, err)
	}
	if o.TLS.ServerName != "" || o.Addr != "cache.example:6379" {
		t.Errorf("the certificate is checked for %q, at %s: want the host of the address", o.TLS.ServerName, o.Addr)
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://", "@localhost:6379/0?max_connections=16")
	f.Add("rediss://u", "@h/x?ssl_cert_reqs=none&db=1#frag")
	f.Add("unix://", "/run/r.sock?%zz")
	f.Add("redis+sentinel://u", "@s1:26379,s2/m/0?role=replica&sentinel_password=x")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hushhush"
		if strings.Contains(before+after, secret) || strings.ContainsAny(before, "?/#") && !strings.HasSuffix(before, "//") {
			return
		}
		o, err := ParseURL(before + ":" + secret + after)
		if err == nil {
			if _, err := o.withDefaults(); err != nil {
				t.Errorf("accepted, but: %v", err)
			}
			return
		}
		// Only where it stands as a password: it is a host or a key elsewhere.
		if strings.HasPrefix(after, "@") && strings.Contains(err.Error(), secret) {
			t.Errorf("the password shows in %v", err)
		}
	})
}
