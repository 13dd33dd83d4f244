package respool

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTheZeroOptionsAreTheDefaults(t *testing.T) {
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		field     string
		got, want any
	}{
		{"Addr", o.Addr, "localhost:6379"}, {"MaxConnections", o.MaxConnections, 16}, {"Lanes", o.Lanes, 4},
		{"ConnectTimeout", o.ConnectTimeout, 5 * time.Second}, {"SocketTimeout", o.SocketTimeout, 5 * time.Second},
		{"WaitTimeout", o.WaitTimeout, 5 * time.Second}, {"StallLimit", o.StallLimit, 10 * time.Second},
		{"HealthCheckInterval", o.HealthCheckInterval, 10 * time.Second},
		{"MaxLifetime", o.MaxLifetime, Never}, {"ReplyLimit", o.ReplyLimit, int64(512 << 20)}, {"Retries", o.Retries, 2},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v by default: want %v", c.field, c.got, c.want)
		}
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	for want, o := range map[string]Options{
		"MaxConnections is -3: want 1 or more":         {MaxConnections: -3},
		"Lanes is 9: want at most MaxConnections":      {Lanes: 9, MaxConnections: 8},
		"MinIdle is 16: want at most MaxConnections-1": {MinIdle: 16},
		"MinIdle is 1: want at most":                   {MinIdle: 1, MaxConnections: 1},
		"MinIdle is -1":                                {MinIdle: -1},
		"MaxWaiters is -1":                             {MaxWaiters: -1},
		"MaxBlocked is -1":                             {MaxBlocked: -1},
		"Blocking is mode 2: want BlockingShared or":   {Blocking: BlockingDedicated + 1},
		"SocketTimeout is -1s":                         {SocketTimeout: -time.Second},
		"WaitTimeout is 1ns: want 1ms":                 {WaitTimeout: 1},
		"LingerLimit is Never":                         {LingerLimit: Never},
		"Retries is -2":                                {Retries: -2},
		"ReplyLimit is -1":                             {ReplyLimit: -1},
		"DialRate is -1":                               {DialRate: -1},
		"DialRate is +Inf: want a finite number":       {DialRate: math.Inf(1)},
		"BackoffCap is 1ms":                            {BackoffBase: time.Second, BackoffCap: time.Millisecond},
		"BackoffCap is 6h0m0s: want at least BackoffBase, which is 6h0m0s, and at most 1h0m0s": {BackoffBase: 6 * time.Hour, BackoffCap: 6 * time.Hour},
		`Addr is "nowhere": want host:port`:                                                    {Addr: "nowhere"},
		`Addr is "x:99999"`:                                                                    {Addr: "x:99999"},
		`Addr is "": want the path`:                                                            {Network: "unix"},
		`Network is "udp": want tcp or unix`:                                                   {Network: "udp"},
		"DB is -1":                                                                             {DB: -1},
		"Protocol is 4: want 2, 3":                                                             {Protocol: 4},
		`ClientName is "a b": want printable ASCII`:                                            {ClientName: "a b"},
		"Password is empty: want the password":                                                 {Username: "u"},
		"SubscriptionBuffer is -1":                                                             {SubscriptionBuffer: -1},
	} {
		_, err := New(o)
		if err == nil || !strings.HasPrefix(err.Error(), "respool: option "+want) {
			t.Errorf("got %v: want %s", err, want)
		}
	}
}

func TestOptionsNeverShowThePassword(t *testing.T) {
	o, err := ParseURL("redis://user:hushhush@localhost")
	if err != nil {
		t.Fatal(err)
	}
	withSentinel, err := ParseURL("redis+sentinel://user:hushhush@s1/m?sentinel_password=hushhush")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{o, withSentinel, withSentinel.Sentinel})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(o), fmt.Sprintf("%+v %#v %s %q", o, o, o, o), string(text), fmt.Sprintf("%+v", &o), fmt.Sprintf("%v %+v %#v", withSentinel, withSentinel.Sentinel, *withSentinel.Sentinel), o.LogValue().String()} {
		if strings.Contains(s, "hushhush") {
			t.Errorf("%s", s)
		}
	}
}

func TestTheDocumentNamesEveryOptionAndKey(t *testing.T) {
	b, err := os.ReadFile("docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for f := range reflect.TypeFor[Options]().Fields() {
		if f.IsExported() && !strings.Contains(doc, "`"+f.Name+"`") {
			t.Errorf("docs/options.md does not name the field %s", f.Name)
		}
	}
	for f := range reflect.TypeFor[SentinelOptions]().Fields() {
		if !strings.Contains(doc, "`Sentinel."+f.Name+"`") {
			t.Errorf("docs/options.md does not name the field %s of SentinelOptions", f.Name)
		}
	}
	for f := range reflect.TypeFor[ClusterOptions]().Fields() {
		if !strings.Contains(doc, "`Cluster."+f.Name+"`") {
			t.Errorf("docs/options.md does not name the field %s of ClusterOptions", f.Name)
		}
	}
	for key := range clusterKeys {
		if !strings.Contains(doc, "`"+key+"`") && !strings.Contains(doc, "`"+key+"=") {
			t.Errorf("docs/options.md does not name the URL key %s", key)
		}
	}
	for key := range roleKeys {
		if !strings.Contains(doc, "`"+key+"`") && !strings.Contains(doc, "`"+key+"=") {
			t.Errorf("docs/options.md does not name the URL key %s", key)
		}
	}
	for key := range sentinelKeys {
		if !strings.Contains(doc, "`"+key+"`") && !strings.Contains(doc, "`"+key+"=") {
			t.Errorf("docs/options.md does not name the URL key %s", key)
		}
	}
	for key := range urlKeys {
		if !strings.Contains(doc, "`"+key+"`") && !strings.Contains(doc, "`"+key+"=") {
			t.Errorf("docs/options.md does not name the URL key %s", key)
		}
	}
}
