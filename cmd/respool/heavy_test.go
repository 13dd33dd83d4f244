//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/doctor"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// finding returns the finding of a rule about a subject.
func finding(t *testing.T, r *doctor.Report, rule, subject string) monitor.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Rule == rule && f.Subject == subject {
			return f
		}
	}
	t.Fatalf("no finding %s %s in %+v", rule, subject, r.Findings)
	return monitor.Finding{}
}

// slowReader requests replies of 64 MiB and reads none of them. It returns when the server holds most of them.
func slowReader(t *testing.T, s *redistest.Server, name string) net.Conn {
	t.Helper()
	s.Do("SET", "large", strings.Repeat("x", 4<<20))
	reader := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: name}
	reader.Add(1)
	t.Cleanup(reader.Close)
	fmt.Fprint(reader.Open[0], strings.Repeat("GET large\r\n", 16))
	full := regexp.MustCompile(`name=` + name + ` .* omem=[3-9]\d{7} `)
	testkit.Await(t, "a full output buffer", func() string { return s.Do("CLIENT", "LIST") }, full.MatchString)
	return reader.Open[0]
}

var killLine = regexp.MustCompile(`respool (kill) URL (--addr) (\S+) (--id) (\d+) (--yes)`)

func TestDoctorNamesTheClientOfALargeBufferAndHowToCloseIt(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	tooltest.Hold(t, s, "orders:pod-1:main", 5, 0)
	from := slowReader(t, s, "export:pod-2:main").LocalAddr().String()
	r := doctorJSON(t, exitFindings, s.URL())
	f := finding(t, &r, "buffers", "export")
	id := regexp.MustCompile(`id=(\d+) addr=` + from + ` `).FindStringSubmatch(s.Do("CLIENT", "LIST"))[1]
	if want := fmt.Sprintf("client %s (%s) of export holds ", id, from); !strings.HasPrefix(f.What, want) || !strings.Contains(f.What, " MiB of replies that it does not read") {
		t.Errorf("%+v: want %s", f, want)
	}
	if !strings.Contains(f.Evidence, "export:pod-2:main") || !strings.Contains(f.Evidence, "last command GET") {
		t.Error(f.Evidence)
	}
	line := killLine.FindStringSubmatch(f.Remedy)
	if line == nil {
		t.Fatalf("no command in %s", f.Remedy)
	}
	code, out, errs := call(t, append([]string{line[1], s.URL()}, line[2:]...)...)
	if code != 0 || !strings.HasPrefix(out, "closed 1 of 1 connections that matched id "+id) || strings.Contains(s.Do("CLIENT", "LIST"), "export") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if r := doctorJSON(t, 0, s.URL()); strings.Contains(rules(&r), "buffers") {
		t.Errorf("%+v", r.Findings)
	}
}

func TestWhoSortsByMemoryIdleAndAge(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	tooltest.Hold(t, s, "orders:pod-1:main", 5, 0)
	slowReader(t, s, "export:pod-2:main")
	ask := func(args ...string) (r clients.HoldersReport) {
		t.Helper()
		code, out, errs := call(t, append([]string{"who", s.URL(), "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
			t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
		}
		return r
	}
	if r := ask(); r.Groups[0].Key[0] != "orders" || r.Sort != "connections" {
		t.Errorf("%+v", r)
	}
	r := ask("--by", "id,service", "--sort", "memory")
	if g := r.Groups[0]; g.Key[1] != "export" || g.Clients != 1 || g.Memory < 30<<20 || !strings.Contains(r.Verdict, g.Key[0]+" export uses the most memory of the server: ") {
		t.Errorf("%+v", r)
	}
	if one := ask("--id", r.Groups[0].Key[0]); one.Matching != 1 || one.Groups[0].Key[0] != "export" {
		t.Errorf("%+v", one)
	}
	for _, sort := range []string{"idle", "age"} {
		r := ask("--by", "id", "--sort", sort, "--top", "0")
		value := func(g *clients.Group) float64 { return map[string]float64{"idle": g.IdleS, "age": g.OldestS}[sort] }
		for i := range r.Groups[1:] {
			if a, b := &r.Groups[i], &r.Groups[i+1]; value(a) < value(b) {
				t.Errorf("%s: %+v is before %+v", sort, a, b)
			}
		}
	}
	code, _, errs := call(t, "who", s.URL(), "--sort", "shoe")
	if code != 2 || !strings.Contains(errs, `--sort must be one of "connections","memory","idle","age"`) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// Each node of a cluster has ids of its own.
func TestKillByIDOnAClusterNeedsTheAddress(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	for _, args := range [][]string{{"--id", "7"}, {"--id", "7", "--addr", "127.0.0.1"}} {
		code, out, errs := call(t, append([]string{"kill", c.URL(), "--yes"}, args...)...)
		if code != 2 || out != "" || !strings.Contains(errs, "add --addr HOST:PORT") {
			t.Errorf("exit %d: %s%s", code, out, errs)
		}
	}
	if code, out, errs := call(t, "kill", c.URL(), "--id", "7", "--addr", "127.0.0.1:1"); code != 0 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// keys sends KEYS again and again, on a connection with this name.
func keys(t *testing.T, s *redistest.Server, name string) (from string) {
	t.Helper()
	s.Do("DEBUG", "POPULATE", "300000")
	one := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: name}
	one.Add(1)
	conn := one.Open[0]
	var wg sync.WaitGroup
	t.Cleanup(func() { one.Close(); wg.Wait() })
	wg.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
			if _, err := fmt.Fprint(conn, "KEYS none:*\r\n"); err != nil {
				return
			}
			if _, err := conn.Read(make([]byte, 64)); err != nil {
				return
			}
		}
	})
	return conn.LocalAddr().String()
}

func TestDoctorNamesTheCommandThatDelaysOthersAndItsSender(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"watch on >sesame +ping +hello +info +client|list"}})
	from := keys(t, s, "reports:pod-1:main")
	r := doctorJSON(t, exitFindings, s.URL())
	f := finding(t, &r, "slow-command", "reports")
	if !strings.HasPrefix(f.What, "KEYS takes ") || !strings.Contains(f.What, " ms a call") || !strings.HasSuffix(f.What, "sent by reports") {
		t.Error(f.What)
	}
	for _, want := range []string{" in total (", " of the time)", "KEYS none:* from " + from + ", named reports:pod-1:main"} {
		if !strings.Contains(f.Evidence, want) {
			t.Errorf("no %q in %s", want, f.Evidence)
		}
	}
	if !strings.HasPrefix(f.Remedy, "replace KEYS by SCAN") {
		t.Error(f.Remedy)
	}
	if len(r.NotAsked) != 0 {
		t.Errorf("%q", r.NotAsked)
	}

	// Without SLOWLOG, the list of clients has the sender.
	watch := fmt.Sprintf("redis://watch:sesame@%s", s.Addr())
	r = doctorJSON(t, exitFindings, watch)
	f = finding(t, &r, "slow-command", "reports")
	if !strings.HasSuffix(f.What, "sent by reports") || !strings.Contains(f.Evidence, "in CLIENT LIST it is the last command of 1 client; SLOWLOG was not read") {
		t.Errorf("%+v", f)
	}
	if text := strings.Join(r.NotAsked, "\n"); !strings.Contains(text, "SLOWLOG GET: the server refuses it (NOPERM): slow commands and their senders are not visible; grant +slowlog|get") {
		t.Errorf("%q", r.NotAsked)
	}
	s.Do("ACL", "SETUSER", "watch", "-client")
	r = doctorJSON(t, exitFindings, watch)
	if f = finding(t, &r, "slow-command", ""); strings.Contains(f.What, "sent by") || !strings.Contains(f.Evidence, "CLIENT LIST was not read; SLOWLOG was not read") {
		t.Errorf("%+v", f)
	}
	s.Do("ACL", "SETUSER", "watch", "-info")
	r = doctorJSON(t, exitFailed, watch)
	if text := strings.Join(r.NotAsked, "\n"); strings.Contains(rules(&r), "slow-command") || !strings.Contains(text, "INFO commandstats: the server refuses it (NOPERM)") {
		t.Errorf("%+v", r)
	}
}

// A slow command that ended before doctor began is a note.
func TestDoctorNotesRecentSlowCommands(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	const busy = "local t = redis.call('TIME'); local n = t[1]*1000000+t[2]; repeat t = redis.call('TIME') until t[1]*1000000+t[2] > n+150000; return 1"
	s.Do("EVAL", busy, "0")
	r := doctorJSON(t, 0, s.URL())
	f := finding(t, &r, "slow-command", "redistest")
	if f.Severity != monitor.Note || !strings.HasPrefix(f.What, "EVAL took ") || strings.Contains(fmt.Sprint(f), "repeat") || !strings.Contains(f.Evidence, "none between the two looks") {
		t.Errorf("%+v", f)
	}
	s.Do("CONFIG", "SET", "slowlog-log-slower-than", "-1")
	if r := doctorJSON(t, 0, s.URL()); !strings.Contains(strings.Join(r.NotAsked, "\n"), "SLOWLOG GET: the server keeps no slow log") {
		t.Errorf("%+v", r)
	}
}

// A watch raises alerts about heavy clients and slow commands, and doctor sees both through it.
func TestAWatchNamesHeavyClientsAndSlowCommands(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	hook := tooltest.NewReceiver(t)
	w := startWatch(t, fmt.Sprintf("url: %s\nlisten: 127.0.0.1:0\nevery: 50ms\nlist_every: 200ms\nrules: {buffers: {for: 10ms}, slow-command: {for: 10ms, limit: 1}}\ntell: [{webhook: {url: %q}}]\n", s.URL(), hook.URL))
	pages := w.log.Until(t, `msg=pages at=(\S+)/`, 1)
	from := slowReader(t, s, "export:pod-2:main").LocalAddr().String()
	hook.Until(t, "firing buffers export")
	sender := keys(t, s, "reports:pod-1:main")
	hook.Until(t, "firing slow-command reports")
	for _, want := range []string{"(" + from + ") of export holds ", "respool kill URL --addr " + from, "KEYS takes ", "from " + sender, "replace KEYS by SCAN"} {
		if text := hook.Text(); !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	r := asks[doctor.Report](t, exitFindings, "doctor", pages, "--for", "2s")
	if f := finding(t, &r, "buffers", "export"); !strings.Contains(f.What, from) {
		t.Error(f.What)
	}
	f := finding(t, &r, "slow-command", "reports")
	if !strings.HasPrefix(f.What, "KEYS takes ") || !strings.Contains(f.Evidence, "KEYS none:* from "+sender+", named reports:pod-1:main") {
		t.Errorf("%+v", f)
	}
	if len(r.NotAsked) != 0 {
		t.Errorf("%q", r.NotAsked)
	}
	w.end(t)
}

// Without a right to SLOWLOG, doctor says so through a watch too.
func TestDoctorStatesWhatAWatchMayNotRead(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"watch on >sesame +ping +hello +info +config|get +client|list"}})
	w := startWatch(t, fmt.Sprintf("url: redis://watch:sesame@%s\nlisten: 127.0.0.1:0\nevery: 50ms\ntell: []\n", s.Addr()))
	pages := w.log.Until(t, `msg=pages at=(\S+)/`, 1)
	testkit.Eventually(t, "the first reading", func() bool { code, _, _ := call(t, "who", pages); return code == 0 })
	keys(t, s, "reports:pod-1:main")
	r := asks[doctor.Report](t, exitFindings, "doctor", pages, "--for", "2s")
	if f := finding(t, &r, "slow-command", "reports"); !strings.Contains(f.Evidence, "SLOWLOG was not read") {
		t.Errorf("%+v", f)
	}
	if text := strings.Join(r.NotAsked, "\n"); !strings.Contains(text, "SLOWLOG GET: the server refuses it (NOPERM)") {
		t.Errorf("%q", r.NotAsked)
	}
	w.end(t)
}

var blockedLine = regexp.MustCompile(`to close them: respool kill URL (--service) (\S+) (--cmd) (\S+) (--yes)`)

// The remedy for blocked clients closes them, and nothing else of their service.
func TestTheRemedyForBlockedClientsClosesThem(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	crowd := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "orders:pod-1:main"}
	t.Cleanup(crowd.Close)
	crowd.Add(33)
	for _, c := range crowd.Open[3:] {
		fmt.Fprint(c, "BRPOP jobs 0\r\n")
	}
	testkit.Eventually(t, "30 blocked clients", func() bool { return s.Info("clients")["blocked_clients"] == "30" })
	r := doctorJSON(t, 0, s.URL())
	f := finding(t, &r, "blocked", "orders")
	if _, counts := s.Info("clients")["total_blocking_keys"]; counts != strings.Contains(f.Evidence, "all blocked clients wait for 1 key,") {
		t.Error(f.Evidence)
	}
	line := blockedLine.FindStringSubmatch(f.Remedy)
	if line == nil {
		t.Fatalf("no command in %s", f.Remedy)
	}
	code, out, errs := call(t, append([]string{"kill", s.URL(), "--rate", "1000"}, line[1:]...)...)
	if code != 0 || !strings.HasPrefix(out, "closed 30 of 30 connections") || s.Info("clients")["blocked_clients"] != "0" || !strings.Contains(s.Do("CLIENT", "LIST"), "name=orders:") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}
