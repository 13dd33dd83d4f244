package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// unnamed opens connections without a name, and sends a command on each.
func unnamed(t *testing.T, s *redistest.Server, n int, command string) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", s.PlainAddr())
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprint(conn, command+"\r\n")
		if _, err := conn.Read(make([]byte, 64)); err != nil {
			t.Error(err)
		}
	}
}

// Clients of redis-py have no names unless their program sets one. This process is the culprit.
func TestTheProcessOfClientsWithoutNamesIsNamed(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	unnamed(t, s, 60, "GET x")
	r := doctorJSON(t, 0, s.URL())
	f := finding(t, &r, "unnamed", "(127.0.0.1)")
	self := fmt.Sprintf("%s, pid %d", filepath.Base(os.Args[0]), os.Getpid())
	if !strings.HasPrefix(f.What, self+": 60 of 61 connections, ") || !strings.HasSuffix(f.What, "after GET") || f.Severity != monitor.Note {
		t.Error(f.What)
	}
	for _, want := range []string{"(127.0.0.1) holds 60 connections without a name", "by process: 60 " + self, "by last command: 60 get", "by age: 60 under 1 min"} {
		if !strings.Contains(f.Evidence, want) {
			t.Errorf("no %q in %s", want, f.Evidence)
		}
	}
	for _, want := range []string{"client_name= in redis-py", "connectionName in ioredis", "respool who URL --by process"} {
		if !strings.Contains(f.Remedy, want) {
			t.Errorf("no %q in %s", want, f.Remedy)
		}
	}

	code, out, errs := call(t, "who", s.URL(), "--by", "process", "--json")
	var w clients.HoldersReport
	if err := json.Unmarshal([]byte(out), &w); err != nil || code != 0 || w.Groups[0].Key[0] != self || w.Groups[0].Clients != 61 { // with redistest's own
		t.Errorf("exit %d, %v: %s%s", code, err, out, errs)
	}
	code, out, errs = call(t, "top", s.URL(), "--for", "3s")
	if want := "(127.0.0.1) 60 [" + self + ": 60; name the connections service:instance:pool: client_name= in redis-py"; code != 0 || !strings.Contains(out, want) {
		t.Errorf("exit %d, no %q in %s%s", code, want, out, errs)
	}

	// Names end it, and so do other services of the same size.
	tooltest.Hold(t, s, "orders:pod-1:main", 20, 0)
	if r := doctorJSON(t, 0, s.URL()); strings.Contains(rules(&r), "unnamed") {
		t.Errorf("%+v", r.Findings)
	}
}

// A service without names that grows is named by its process.
func TestTheGrowthOfClientsWithoutNamesIsNamedByItsProcess(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 500})
	unnamed(t, s, 40, "GET x")
	end := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
				unnamed(t, s, 1, "GET x")
			}
		}
	}()
	r := doctorJSON(t, exitFindings, s.URL(), "--for", "2s")
	close(end)
	<-ended
	f := finding(t, &r, "growth", "(127.0.0.1)")
	if want := fmt.Sprintf("(127.0.0.1: %s, pid %d) opens ", filepath.Base(os.Args[0]), os.Getpid()); !strings.HasPrefix(f.What, want) {
		t.Errorf("%s: want %s", f.What, want)
	}
}
