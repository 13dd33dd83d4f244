package respool

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestClusterURLs(t *testing.T) {
	o, err := ParseURL("redis+cluster://user:secret@h1,[::1]:7001?max_connections=8&max_connections_total=20&cross_slot=reads&query_timeout=0.5&drain_limit=2s&map_addr=10.0.0.1:6379=192.0.2.1:7001")
	if err != nil {
		t.Fatal(err)
	}
	c := o.Cluster
	if want := []string{"h1:6379", "[::1]:7001"}; c == nil || !reflect.DeepEqual(c.Addrs, want) {
		t.Fatalf("%+v", c)
	}
	if c.MaxConnectionsTotal != 20 || c.CrossSlot != CrossSlotReads || c.QueryTimeout != time.Second/2 || c.DrainLimit != 2*time.Second {
		t.Errorf("%+v", c)
	}
	if c.MapAddr("10.0.0.1:6379") != "192.0.2.1:7001" || c.MapAddr("10.0.0.2:6379") != "10.0.0.2:6379" {
		t.Error("map_addr maps another address")
	}
	if o.Username != "user" || o.Password != "secret" || o.MaxConnections != 8 || o.TLS != nil {
		t.Errorf("%+v", o)
	}
	if o, err := ParseURL("redis+cluster://h1?role=prefer-replica&replica_choice=nearest&max_replica_lag=2"); err != nil ||
		o.Role != RolePreferReplica || !o.Nearest || o.MaxReplicaLag != 2*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := ParseURL("rediss+cluster://h1"); err != nil || o.TLS == nil {
		t.Errorf("rediss+cluster: %v, %v", o, err)
	}
}

func TestBadClusterURLs(t *testing.T) {
	for url, want := range map[string]string{
		"redis+cluster://":                           "names no node",
		"redis+cluster://h1,,h2":                     "an empty one",
		"redis+cluster://h1/3":                       "a cluster has one database",
		"redis+cluster://h1?db=3":                    "a cluster has one database",
		"redis+cluster://h1?cross_slot=never":        "split, reads or refuse",
		"redis+cluster://h1?map_addr=10.0.0.1:6379":  "announced=reachable",
		"redis+cluster://h1?max_connections_total=x": "a whole number, 0 or more",
		"redis://h1?max_connections_total=20":        "the scheme redis+cluster",
		"redis+cluster://h1?sentinel_password=x":     "the scheme redis+sentinel",
		"redis+cluster://h1?role=nearest":            "replica_choice=nearest",
		"redis://h1?role=replica":                    "redis+sentinel, rediss+sentinel, redis+cluster or rediss+cluster",
		"redis://h1?cross_slot=split":                "the scheme redis+cluster",
		"redis+cluster://h1?crosslot=split":          "did you mean cross_slot",
	} {
		if _, err := ParseURL(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v: want %q", url, err, want)
		}
	}
}

func TestBadClusterOptions(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"Cluster.Addrs is empty":         func(o *Options) { o.Cluster.Addrs = nil },
		`Cluster.Addrs is "h1"`:          func(o *Options) { o.Cluster.Addrs = []string{"h1"} },
		"no Addr":                        func(o *Options) { o.Addr = "h1:6379" },
		"Role is primary":                func(o *Options) { o.Nearest = true },
		"Role is role 3":                 func(o *Options) { o.Role = 3 },
		"MaxReplicaLag is":               func(o *Options) { o.Role, o.MaxReplicaLag = RoleReplica, time.Millisecond },
		"Cluster.CrossSlot is":           func(o *Options) { o.Cluster.CrossSlot = 3 },
		"Cluster.MaxConnectionsTotal is": func(o *Options) { o.Cluster.MaxConnectionsTotal = -1 },
		"Cluster.QueryTimeout is":        func(o *Options) { o.Cluster.QueryTimeout = -1 },
		"1h or less":                     func(o *Options) { o.Cluster.DrainLimit = 2 * time.Hour },
		"a cluster has one databas":      func(o *Options) { o.DB = 1 },
	} {
		o := Options{Cluster: &ClusterOptions{Addrs: []string{"h1:6379"}}}
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}

func TestMovedSlotsAreConflictsOfWatch(t *testing.T) {
	moved := &ServerError{Code: "MOVED", Message: "12 127.0.0.1:7000"}
	w := &Watched{clustered: true}
	if err := w.conflictOf(moved); !errors.Is(err, ErrConflict) || !errors.Is(err, moved) {
		t.Errorf("MOVED in a cluster: %v", err)
	}
	for _, err := range []error{nil, errors.New("mine"), &ServerError{Code: "WRONGTYPE"}} {
		if got := w.conflictOf(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
	if got := (&Watched{}).conflictOf(moved); got != error(moved) {
		t.Errorf("MOVED outside a cluster became %v", got)
	}
}

func TestAnErrorOfAClustersNodeNamesTheScheme(t *testing.T) {
	r := unclustered([]byte("-MOVED 12 127.0.0.1:7000\r\n"))
	var se *ServerError
	if err := r.Err(); !errors.As(err, &se) || se.Code != "MOVED" || !strings.Contains(err.Error(), "redis+cluster") {
		t.Errorf("%v", err)
	}
	for _, frame := range []string{"-WRONGTYPE x\r\n", "-ERR y\r\n"} {
		if r := unclustered([]byte(frame)); r.frame == nil || strings.Contains(r.Err().Error(), "cluster") {
			t.Errorf("%q became %v", frame, r.Err())
		}
	}
}
