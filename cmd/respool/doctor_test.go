package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/doctor"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

func doctorJSON(t *testing.T, want int, args ...string) doctor.Report {
	t.Helper()
	code, out, errs := call(t, append([]string{"doctor", "--json", "--for", "1s"}, args...)...)
	var r doctor.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != want {
		t.Fatalf("exit %d, %v: %s%s: want %d", code, err, out, errs, want)
	}
	return r
}

// healthyJSON is doctorJSON for a server without trouble. On a busy machine any command may be slow once, so it asks again while
// this is the only finding.
func healthyJSON(t *testing.T, args ...string) (r doctor.Report) {
	t.Helper()
	for range 10 {
		r = doctorJSON(t, 0, args...)
		if len(r.Findings) == 0 || slices.ContainsFunc(r.Findings, func(f monitor.Finding) bool { return f.Rule != "slow-command" }) {
			break
		}
	}
	return r
}

// rules lists the rules and subjects of the findings.
func rules(r *doctor.Report) string {
	var names []string
	for _, f := range r.Findings {
		names = append(names, f.Rule+" "+f.Subject)
	}
	return strings.Join(names, ", ")
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 500, Args: []string{"--tcp-keepalive", "300"}})
	tooltest.Hold(t, s, "orders:pod-1:main", 5, 0)
	if r := healthyJSON(t, s.URL()); len(r.Findings) != 0 || *r.Connections != 6 || r.MaxClients != 500 || !strings.HasPrefix(r.Verdict, "nothing found: 6 connections of 500") {
		t.Errorf("%+v", r)
	}

	// One service opens a connection for each command, another leaks connections.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				continue
			}
			fmt.Fprint(conn, "CLIENT SETNAME cron:x\r\nPING\r\n")
			_, _ = conn.Read(make([]byte, 100))
			time.Sleep(2 * time.Millisecond)
			conn.Close()
		}
	})
	wg.Go(func() {
		for range 100 {
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "CLIENT SETNAME cart:y\r\n")
			select {
			case <-stop:
				return
			case <-time.After(40 * time.Millisecond):
			}
		}
		<-stop
	})
	r := doctorJSON(t, exitFindings, s.URL())
	close(stop)
	wg.Wait()
	if got := rules(&r); !strings.Contains(got, "growth cart") || !strings.Contains(got, "new-connections") {
		t.Errorf("found %s", got)
	}
}

func TestDoctorWithFewRights(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"watch on >sesame +ping +hello +info"}})
	code, out, errs := call(t, "doctor", "--for", "100ms", fmt.Sprintf("redis://watch:sesame@%s", s.Addr()))
	for _, want := range []string{
		"warnings (1 warn, 1 note): 1 connection of 10000 (0%); not everything was read", "WARN: the server refuses CLIENT LIST: some problems are not visible",
		"grant +client|list: ACL SETUSER watch +client|list", "not read: CONFIG GET: the server refuses it (NOPERM)", "not read: CLIENT LIST", "next: ",
	} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	// A server that does not report its limit.
	s.Do("ACL", "SETUSER", "watch", "-info", "+client|list")
	r := doctorJSON(t, 2, fmt.Sprintf("redis://watch:sesame@%s", s.Addr()), "--maxclients", "1")
	if r.MaxClients != 1 || *r.Connections != 1 || rules(&r) != "blind , occupancy-critical , key-changes watch" || !strings.HasPrefix(r.Verdict, "cannot judge: INFO is refused: grant +info: ACL SETUSER watch +info") {
		t.Errorf("%+v", r)
	}
	// A server that shows nothing at all.
	s.Do("ACL", "SETUSER", "watch", "-client")
	if r := doctorJSON(t, 2, fmt.Sprintf("redis://watch:sesame@%s", s.Addr())); r.Connections != nil || !strings.HasPrefix(r.Verdict, "cannot judge: INFO is refused") {
		t.Errorf("%+v", r)
	}
}

// Neither a proxy, nor a server whose INFO has another name, is fine.
func TestDoctorDoesNotJudgeWhatItCannotSee(t *testing.T) {
	answer := func(info string) *fakeserver.Server {
		return fakeserver.Start(t, fakeserver.Config{Answer: func(_ *fakeserver.Conn, args []string) (string, bool) {
			switch strings.ToUpper(args[0]) {
			case "INFO":
				return info, true
			case "CLIENT", "CONFIG":
				return "-ERR unknown command\r\n", true
			}
			return "", false
		}})
	}
	renamed := answer("-ERR unknown command 'INFO', with args beginning with: \r\n")
	proxy := answer("$14\r\nproxy:nutter\r\n\r\n")
	for addr, want := range map[string]string{
		renamed.Addr(): "cannot judge: INFO is refused: the server does not accept INFO: check rename-command",
		proxy.Addr():   "cannot judge: INFO does not state the number of connections (unknown server): the address may lead to a proxy",
	} {
		if r := doctorJSON(t, 2, "redis://"+addr); !strings.HasPrefix(r.Verdict, want) {
			t.Errorf("%s: want %s", r.Verdict, want)
		}
	}
}

func TestDoctorNamesUsersThatCannotWatchKeys(t *testing.T) {
	const rights = " on >sesame ~jobs:* +ping +hello +info +client|list +config|get "
	s := redistest.Start(t, redistest.Config{Users: []string{
		"able" + rights + "+client|tracking +exists", "mute" + rights + "+exists", "blind" + rights + "+client|tracking",
	}})
	for user, want := range map[string]string{
		"able":  "",
		"mute":  "CLIENT TRACKING ON: NOPERM",
		"blind": "EXISTS: NOPERM",
	} {
		remedy := ""
		for _, protocol := range []string{"", "?protocol=2"} {
			url := fmt.Sprintf("redis://%s:sesame@%s%s", user, s.Addr(), protocol)
			if want == "" {
				if r := healthyJSON(t, url); len(r.Findings) != 0 {
					t.Errorf("%s%s: %+v", user, protocol, r.Findings)
				}
				continue
			}
			r := doctorJSON(t, 0, url)
			if len(r.Findings) != 1 {
				t.Errorf("%s%s: %+v: want one finding", user, protocol, r.Findings)
				continue
			}
			f := r.Findings[0]
			if f.Rule != "key-changes" || f.Severity != monitor.Note || !strings.Contains(f.What, "the user "+user+" may not watch keys") ||
				!strings.HasPrefix(f.Evidence, want) || !strings.HasPrefix(f.Remedy, "ACL SETUSER "+user+" +client|tracking +exists;") {
				t.Errorf("%s%s: %+v", user, protocol, f)
			}
			remedy, _, _ = strings.Cut(f.Remedy, ";")
		}
		if remedy != "" {
			s.Do(strings.Fields(remedy)...)
		}
		if r := healthyJSON(t, fmt.Sprintf("redis://%s:sesame@%s", user, s.Addr())); len(r.Findings) != 0 {
			t.Errorf("%s after the remedy: %+v", user, r.Findings)
		}
	}
}

func TestDoctorNamesServersThatDoNotReportChangesOfKeys(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: []string{"--rename-command", "EXISTS", ""}})
	r := doctorJSON(t, 0, s.URL())
	if len(r.Findings) != 1 {
		t.Fatalf("%+v: want one finding", r.Findings)
	}
	if f := r.Findings[0]; !strings.HasPrefix(f.What, "the server does not report changes of keys") ||
		!strings.Contains(f.Evidence, "EXISTS: ERR unknown command") || !strings.Contains(f.Remedy, "Redis 6.0 or later") {
		t.Errorf("%+v", f)
	}
}

func TestTheBlockedClientsOfAServerAreNotAllThatWait(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c, err := respool.Open(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	wg.Go(func() { _ = c.Do(ctx, "BLPOP", "jobs", 0).Err() })
	testkit.Await(t, "a wait", func() int { return c.Stats().Blocking.Waiting }, testkit.AtLeast(1))
	for _, args := range [][]string{{"who", s.URL()}, {"doctor", "--for", "100ms", s.URL()}} {
		code, out, errs := call(t, args...)
		if want := "that wait inside respool clients and gateways: servers do not see them"; code != 0 || !strings.Contains(out, want) {
			t.Errorf("%v: exit %d, no %q in\n%s%s", args, code, want, out, errs)
		}
	}
	if blocked := s.Info("clients")["blocked_clients"]; blocked != "0" {
		t.Errorf("the server has %s blocked clients: it sees the wait", blocked)
	}
}

func TestDoctorMistakes(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"redis://127.0.0.1:1"}, "connection refused"},
		{[]string{"redis://127.0.0.1:1", "--for", "1ms"}, "--for is 1ms"},
		{[]string{"redis://127.0.0.1:1", "--maxclients=-1"}, "--maxclients is -1"},
	} {
		code, out, errs := call(t, append([]string{"doctor"}, c.args...)...)
		if code != 2 || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%v: exit %d, %q, %q: want %q", c.args, code, out, errs, c.want)
		}
	}
}
