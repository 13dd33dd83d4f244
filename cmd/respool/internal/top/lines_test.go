package top

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

func TestTopTellsOfEveryLook(t *testing.T) {
	var out bytes.Buffer
	p := newLinePrinter(&out, false, 2*time.Second)
	st := oneService(t)
	again := *st
	again.At = noon.Add(100 * time.Millisecond)
	later := oneService(t)
	later.At = noon.Add(2 * time.Second)
	for _, s := range []*monitor.State{st, &again, later} {
		if err := p.print(s); err != nil {
			t.Fatal(err)
		}
	}
	want := `2026-03-01T12:00:00Z 10.0.0.1:6379 primary: 450 of 500 connections (90%), opened 12/s, rejected 0/s, commands 5412/s; orders 215, cart 118, a-service-with-a-long-name 33
2026-03-01T12:00:00Z 10.0.0.2:6379 replica: 20 of 500 connections (4%), opened -/s, rejected -/s, commands -/s; reports 20
2026-03-01T12:00:00Z 10.0.0.3:6379 replica: not reachable since 12 s: dial 10.0.0.3:6379: connection refused
`
	want += strings.NewReplacer("12:00:00Z", "12:00:02Z", "12 s", "14 s").Replace(want)
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
