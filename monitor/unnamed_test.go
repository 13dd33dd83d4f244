package monitor

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// split splits the clients of a list.
func split(t *testing.T, list string) *Unnamed {
	t.Helper()
	l := (&Snapshot{}).listClients("me")
	l.unnamed = &unnamedList{}
	if err := EachClient(strings.NewReader(list), l.add); err != nil {
		t.Fatal(err)
	}
	l.done()
	return l.snap.Unnamed
}

// unnamedLines are n connections without a name. laddr is missing, so that no process is known.
func unnamedLines(from, n int, fields string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "id=%d addr=10.0.0.%d:%d name= %s\n", from+i, 1+i%3, from+i, fields)
	}
	return b.String()
}

func TestClientsWithoutNamesAndProcesses(t *testing.T) {
	list := unnamedLines(1, 90, "age=900 idle=300 flags=N cmd=get user=app lib-name=redis-py lib-ver=5.0.8") +
		unnamedLines(100, 7, "age=10 idle=0 flags=b cmd=blpop user=jobs lib-name=redis-py lib-ver=5.0.8") + "id=500 addr=10.0.0.9:1 name=orders:1 age=1 idle=0 flags=N cmd=get user=default\n"
	u := split(t, list)
	if u == nil || u.Service != "(redis-py)" || u.Connections != 97 || u.Total != 98 || u.Size != 90 || u.Program != "" {
		t.Fatalf("%+v", u)
	}
	if want := "(redis-py) with last command get, user app, library redis-py 5.0.8, age 10 min to 1 h"; u.Culprit != want || u.Doing != "all idle after GET" {
		t.Errorf("%s, %s: want %s", u.Culprit, u.Doing, want)
	}
	if strings.Join(u.By, ",") != "cmd,user,addr" || u.Groups.Of("get", "app", "10.0.0.1") != 30 {
		t.Errorf("%q: %+v", u.By, u.Groups.Sorted())
	}
	d := &diagnosis{after: &Snapshot{Unnamed: u}}
	d.unnamed()
	if f := d.found[0]; !strings.HasPrefix(f.Remedy, "name the connections service:instance:pool: client_name= in redis-py (") || strings.Contains(f.Remedy, "ioredis") ||
		!strings.Contains(f.Evidence, "by user: 90 app, 7 jobs") || !strings.Contains(f.Evidence, "by address: 33 10.0.0.1, 32 10.0.0.2, 32 10.0.0.3") {
		t.Errorf("%+v", f)
	}
	for what, list := range map[string]string{
		"few":          unnamedLines(1, 9, "age=900 idle=300"),
		"eighty of":    unnamedLines(1, 80, "age=900 idle=300 lib-name=jedis") + lines("orders:1", 20, time.Hour, 0),
		"with a name":  lines("(odd)", 50, time.Hour, 0),
		"nobody there": "",
	} {
		if u := split(t, list); u != nil {
			t.Errorf("%s: %+v", what, u)
		}
	}
}

func TestTheSettingThatNamesConnections(t *testing.T) {
	for want, c := range map[string][2]string{
		"client_name= in redis-py":                   {"redis-py 5.0.8", ""},
		"ClientName in go-redis (redis.Options)":     {"go-redis(,go1.24) 9.7.0", ""},
		"clientName in Lettuce":                      {"Lettuce 6.3", ""},
		"connectionName in ioredis, or name in node": {"", "node server.js"},
		"clientName in Jedis (DefaultJedis":          {"", "java -jar cart.jar"},
		"client_name= in redis-py (redis.Redis":      {"(unknown)", "python3.11 worker.py"},
		"connectionName in ioredis, name in node":    {"", "cart"},
	} {
		if got := namingRemedy(c[0], c[1]); !strings.Contains(got, want) || !strings.Contains(got, "service:instance:pool") {
			t.Errorf("%q: %s: want %s", c, got, want)
		}
	}
}
