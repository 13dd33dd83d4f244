package monitor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func clientsOf(t testing.TB, text string) []Client {
	t.Helper()
	var list []Client
	if err := EachClient(strings.NewReader(text), func(c Client) error { list = append(list, c); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestClientListsOfAllVersions(t *testing.T) {
	raw, err := os.ReadFile("testdata/clients.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := clientsOf(t, string(raw))
	want := []Client{
		{ID: 3, Addr: "127.0.0.1:52555", LocalAddr: "127.0.0.1:6379", User: "default", Command: "client", Flags: "N", Age: 855 * time.Second, Queued: -1, QueryBuffer: 26, TotalMemory: 63466},
		{ID: 12, Addr: "[::1]:40112", LocalAddr: "[::1]:6379", Name: "orders:pod-7:primary", User: "orders", Command: "blpop", Flags: "b", Age: 61 * time.Second, Idle: time.Minute, DB: 2, Queued: -1, Protocol: 3, TotalMemory: 1800},
		{ID: 13, Addr: "10.0.0.5:40113", LocalAddr: "10.0.0.1:6379", User: "default", Lib: "redis-py", LibVersion: "5.0.1", Command: "subscribe", Flags: "P", Age: 5 * time.Second, Idle: 5 * time.Second, Subscriptions: 6, Queued: -1, Protocol: 2, OutputMemory: 20512, TotalMemory: 22400, libReported: true},
		{ID: 14, Addr: "10.0.0.6:1", LocalAddr: "10.0.0.1:6379", Name: "a", User: "default", Lib: "go-redis(,go1.22)", LibVersion: "9.5.1", Command: "exec", Flags: "x", Age: time.Second, Queued: 3, Watched: 2, Protocol: 3, TotalMemory: 22400, libReported: true},
		{ID: 15, Addr: "10.0.0.7:2", LocalAddr: "10.0.0.1:6379", User: "default", Command: "client|list", Flags: "N", Age: 9 * time.Second, Queued: -1, Protocol: 2, TotalMemory: 1824, Commands: 3, BytesIn: 48, BytesOut: 36, libReported: true},
		{ID: 16, Addr: "10.0.0.8:3", LocalAddr: "10.0.0.1:6379", User: "default", Lib: "iovalkey", LibVersion: "0.2", Command: "replconf", Flags: "S", Age: 2 * time.Second, Idle: time.Second, Queued: -1, Protocol: 2, TotalMemory: 17000, Commands: 2, BytesIn: 81, libReported: true},
		{ID: 17, Addr: "/run/my redis/s.sock:0", LocalAddr: "/run/my redis/s.sock:0", User: "default", Command: "ping", Flags: "U", Age: 2 * time.Second, Idle: 2 * time.Second, Queued: -1, Protocol: 2, TotalMemory: 17000, Commands: 1, BytesIn: 14, BytesOut: 7, libReported: true},
	}
	if len(got) != len(want) {
		t.Fatalf("%d clients: want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
	services := []string{}
	for _, c := range got {
		services = append(services, c.Service())
	}
	if want := []string{"(127.0.0.1)", "orders", "(redis-py)", "a", "(10.0.0.7)", "(iovalkey)", "(/run/my redis/s.sock)"}; !slices.Equal(services, want) {
		t.Errorf("services %q: want %q", services, want)
	}
	if !got[1].Blocked() || !got[2].Subscribed() || !got[5].Replication() || got[0].Blocked() || got[0].Subscribed() || got[0].Replication() {
		t.Error("the flags are not understood")
	}
}

func TestInfoOfAllVersions(t *testing.T) {
	for text, want := range map[string]string{
		"# Server\r\nredis_version:6.2.14\r\n# Clients\r\nconnected_clients:3\r\nmaxclients:10000\r\ncluster_connections:0\r\n": "Redis 6.2.14 3 10000",
		"redis_version:7.0.15\r\nconnected_clients:5\r\nconnected_slaves:2\r\ncluster_connections:4\r\nmaxclients:500\r\n":      "Redis 7.0.15 11 500",
		"redis_version:8.2.1\nconnected_clients:1\n": "Redis 8.2.1 1 0",
		"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.0.0\r\nvalkey_release_stage:ga\r\nconnected_clients:7\r\nmaxclients:10000": "Valkey 9.0.0 7 10000",
		"":                                 "unknown server 0 0",
		"nonsense\r\n:\r\nmaxclients:many": "unknown server 0 0",
	} {
		i := ParseInfo(text)
		n, known := i.Connections()
		limit, limited := i.MaxClients()
		if got := fmt.Sprint(i.Server(), " ", n, " ", limit); got != want || known != (n > 0) || limited != (limit > 0) {
			t.Errorf("%q: got %q, %v, %v: want %q", text, got, known, limited, want)
		}
	}
	i := ParseInfo("used_memory_peak_perc:95.5%\r\ninstantaneous_input_kbps:0.04\r\nx:y\r\n")
	if f, ok := i.Float("used_memory_peak_perc"); !ok || f != 95.5 {
		t.Errorf("got %v, %v", f, ok)
	}
	if _, ok := i.Int("x"); ok || i.Text("x") != "y" {
		t.Error("x is no number, but text")
	}
}

// testdata/servers holds what servers tell: of a client that has named itself, a subscriber, one in MULTI,
// one that is blocked, and the one that asks.
func TestWhatEachServerTells(t *testing.T) {
	for file, v := range map[string]struct {
		server           string
		lib, watch, sums bool // what CLIENT LIST tells
	}{
		"redis-6.2":  {"Redis 6.2.16", false, false, false},
		"redis-7.2":  {"Redis 7.2.6", true, false, false},
		"redis-7.4":  {"Redis 7.4.1", true, true, false},
		"redis-8.6":  {"Redis 8.6.2", true, true, true},
		"valkey-8.0": {"Valkey 8.0.1", true, true, true},
	} {
		t.Run(file, func(t *testing.T) {
			info, err := os.ReadFile("testdata/servers/" + file + ".info")
			if err != nil {
				t.Fatal(err)
			}
			i := ParseInfo(string(info))
			n, _ := i.Connections()
			limit, _ := i.MaxClients()
			if i.Server() != v.server || n != 5 || limit != 321 || i.Text("role") != "master" {
				t.Errorf("%d connections of %d at %s, %q", n, limit, i.Server(), i.Text("role"))
			}
			list, err := os.ReadFile("testdata/servers/" + file + ".clients")
			if err != nil {
				t.Fatal(err)
			}
			c := clientsOf(t, string(list))
			if len(c) != 5 {
				t.Fatalf("%d clients: want 5", len(c))
			}
			if c[0].Service() != "orders" || c[0].DB != 2 || c[0].User != "default" || (c[0].Lib == "redis-py" && c[0].LibVersion == "5.0.1") != v.lib {
				t.Errorf("the one with a name: %+v", c[0])
			}
			if !c[1].Subscribed() || c[1].Subscriptions != 2 || c[1].Queued != -1 || v.lib && c[1].Protocol != 3 {
				t.Errorf("the subscriber: %+v", c[1])
			}
			if c[2].Queued != 1 || (c[2].Watched == 1) != v.watch || (c[2].Commands > 0 && c[2].BytesIn > 0) != v.sums {
				t.Errorf("the one in MULTI: %+v", c[2])
			}
			if !c[3].Blocked() || c[4].Blocked() || c[4].Flags != "N" || c[4].TotalMemory == 0 || !strings.HasPrefix(c[4].Command, "client") {
				t.Errorf("the one that is blocked, and the one that asks: %+v, %+v", c[3], c[4])
			}
		})
	}
}

func TestWhatARealServerTells(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 321})
	i := ParseInfo(s.Do("INFO"))
	n, ok := i.Connections()
	if limit, lok := i.MaxClients(); !ok || !lok || n != 1 || limit != 321 || i.Server() != s.Version().String() {
		t.Errorf("%d connections of %d at %s", n, limit, i.Server())
	}
	list, command := clientsOf(t, s.Do("CLIENT", "LIST")), "client"
	if s.Version().Since(7, 0) {
		command = "client|list"
	}
	if len(list) != 1 || list[0].ID == 0 || list[0].Command != command || list[0].TotalMemory == 0 || list[0].Name == "" {
		t.Errorf("%+v", list)
	}
}

func TestGroups(t *testing.T) {
	g, err := NewGroups("service", "lib")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		g.Add(&Client{ID: int64(i), Name: fmt.Sprintf("orders:pod-%d:main", i), Lib: "respool", LibVersion: "0.1.0", Age: time.Duration(i) * time.Minute, Idle: time.Duration(i) * 20 * time.Second, TotalMemory: 100})
	}
	g.Add(&Client{ID: 10, Name: "orders:x", Lib: "redis-py", Flags: "b", Idle: time.Hour})
	g.Add(&Client{ID: 11, Addr: "10.0.0.1:5", Subscriptions: 1, Idle: time.Hour})
	list := g.Sorted()
	if len(list) != 3 || list[0].Clients != 10 || !slices.Equal(list[0].Key, []string{"orders", "respool 0.1.0"}) ||
		list[0].Oldest != 9*time.Minute || list[0].LongestIdle != 3*time.Minute || list[0].Idle != 7 || list[0].Active != 1 || list[0].Memory != 1000 {
		t.Errorf("%+v", list)
	}
	if !slices.Equal(list[1].Key, []string{"(10.0.0.1)", "(unknown)"}) || list[1].Subscribed != 1 || list[1].Idle != 0 || list[2].Blocked != 1 {
		t.Errorf("%+v", list)
	}
	if total := g.Total(); total.Clients != 12 || total.Blocked != 1 || total.Subscribed != 1 || total.LongestIdle != time.Hour {
		t.Errorf("%+v", total)
	}
	for _, by := range [][]string{{}, {"service", "shoe size"}} {
		if _, err := NewGroups(by...); err == nil || !strings.Contains(err.Error(), "addr, age, cmd, db, id, lib, name, process, service, user") {
			t.Errorf("%q: %v", by, err)
		}
	}
}

func TestEachClientStopsAndReportsItsReader(t *testing.T) {
	stop := errors.New("enough")
	n := 0
	err := EachClient(strings.NewReader("id=1\nid=2\nid=3\n"), func(Client) error {
		if n++; n == 2 {
			return stop
		}
		return nil
	})
	if err != stop || n != 2 {
		t.Errorf("got %v after %d", err, n)
	}
	broken := errors.New("broken")
	if err := EachClient(failing{broken}, func(Client) error { return nil }); err != broken {
		t.Errorf("got %v", err)
	}
	long := "id=7 name=" + strings.Repeat("x", 3*longestLine) + " age=5\nid=8\n"
	if list := clientsOf(t, long); len(list) != 2 || list[0].ID != 7 || list[1].ID != 8 || list[0].Age != 0 {
		t.Errorf("%d clients", len(list))
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func FuzzEachClient(f *testing.F) {
	raw, err := os.ReadFile("testdata/clients.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		f.Add(line)
	}
	f.Add("id=9223372036854775808 age=-1 idle=99999999999999 sub=-5 = == a=b=c\n\r\nid=\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		list := clientsOf(t, text)
		if len(list) > lines {
			t.Errorf("%d clients in %d lines", len(list), lines)
		}
		// However it comes in pieces, it is the same.
		var pieces []Client
		w := NewClientWriter(func(c Client) error { pieces = append(pieces, c); return nil })
		for rest := []byte(text); len(rest) > 0; {
			n := 1 + (len(rest)*7+lines)%13
			n = min(n, len(rest))
			_, _ = w.Write(rest[:n])
			rest = rest[n:]
		}
		if err := w.Close(); err != nil || !slices.Equal(pieces, list) {
			t.Errorf("%v: in pieces %+v, at once %+v", err, pieces, list)
		}
		g, _ := NewGroups(Keys()...)
		for i := range list {
			c := &list[i]
			if c.Age < 0 || c.Idle < 0 || c.Subscriptions < 0 || c.Service() == "" {
				t.Errorf("%+v", c)
			}
			g.Add(c)
		}
		sum := 0
		for _, group := range g.Sorted() {
			sum += group.Clients
		}
		if sum != len(list) || g.Total().Clients != sum {
			t.Errorf("%d clients in groups, %d in all, of %d", sum, g.Total().Clients, len(list))
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	f.Add("# Server\r\nredis_version:7.0.15\r\nmaxclients:10000\r\n")
	f.Add("a:b:c\r\n:x\r\n#:\r\nmaxclients:-1")
	f.Fuzz(func(t *testing.T, text string) {
		i := ParseInfo(text)
		_ = i.Server()
		if n, ok := i.MaxClients(); ok && n <= 0 {
			t.Errorf("maxclients %d", n)
		}
		_, _ = i.Connections()
	})
}

func TestClientsOfRespoolAreRecognized(t *testing.T) {
	for line, may := range map[string]bool{
		"name=cart:pod-1:main lib-name=respool": true,
		"name=gateway:pod-1:main lib-name=":     true,
		"name=gateway:pod-1:main":               true,
		"name=cart:pod-1:main lib-name=":        false,
		"name= lib-name=redis-py":               false,
		"name=respool:watch lib-name=respool":   false,
		"name=respool:watch":                    false,
		"name=cart:pod-1:main":                  true, // before 7.2 it may be one
	} {
		if c := clientsOf(t, "id=3 addr=127.0.0.1:1 "+line+"\n")[0]; c.Multiplexes() != may {
			t.Errorf("%q: %v", line, !may)
		}
	}
}
