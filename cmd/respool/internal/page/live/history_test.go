package live

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

func TestTheHistoryKeepsTwoHoursAndIsBounded(t *testing.T) {
	for _, every := range []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second, 7 * time.Second, time.Minute} {
		s := newSeries(every, 0)
		begin := time.Unix(1_700_000_000, 0)
		n := 0
		for at := begin; at.Before(begin.Add(3 * time.Hour)); at = at.Add(every) {
			n++
			s.add(point{at: at.UnixMilli(), connections: float64(n)})
			if len(s.points) > historyPoints {
				t.Fatalf("%v: %d points", every, len(s.points))
			}
		}
		first, last := s.points[0], s.points[len(s.points)-1]
		if covered := time.Duration(last.at-first.at) * time.Millisecond; covered < historyKept-time.Minute || covered > historyKept {
			t.Errorf("%v: the points cover %v: want %v", every, covered, historyKept)
		}
		if last.connections != float64(n) {
			t.Errorf("%v: the last point has %v: want %d", every, last.connections, n)
		}
		for i := 1; i < len(s.points); i++ {
			if s.points[i].at <= s.points[i-1].at || s.points[i].connections <= s.points[i-1].connections {
				t.Fatalf("%v: points %d and %d are not in order", every, i-1, i)
			}
		}
	}
}

func TestAPointHasTheLargestValuesOfItsSpread(t *testing.T) {
	s := newSeries(5*time.Second, 0)
	nan := math.NaN()
	for i, connections := range []float64{nan, 3, 9, nan, 4} {
		s.add(point{at: 1_000_000_000_000 + int64(i)*1000, connections: connections, limit: nan})
	}
	if len(s.points) != 1 || s.points[0].connections != 9 {
		t.Errorf("%+v: want one point with 9", s.points)
	}
}

func TestUnknownValuesAreNull(t *testing.T) {
	at := time.Unix(1000, 0)
	for name, n := range map[string]*monitor.NodeState{
		"not read yet": {Addr: "a"},
		"down":         {Addr: "a", Err: errors.New("gone"), Last: &monitor.Snapshot{Connections: 5, MaxClients: 0}},
		"blind":        {Addr: "a", Up: true, Last: &monitor.Snapshot{At: at, Uncounted: true}},
	} {
		raw, err := json.Marshal(pointOf(n, at))
		if err != nil || string(raw) != "[1000,null,null,null,null,null]" {
			t.Errorf("%s: %s, %v", name, raw, err)
		}
	}
	raw, _ := json.Marshal(pointOf(&monitor.NodeState{Up: true, Last: &monitor.Snapshot{At: at, MaxClients: 9}, Rates: monitor.Rates{Known: true, Opened: 1.234}}, at))
	if string(raw) != "[1000,0,9,1.23,0,0]" {
		t.Errorf("%s", raw)
	}
}

func TestMarksAreBounded(t *testing.T) {
	var m marks
	for i := range 3 * marksKept {
		m = m.add(time.Unix(int64(i), 0), "alert", "x", "a")
	}
	m = m.add(time.Unix(10_000, 0), "alert", "all", "")
	if len(m) != marksKept {
		t.Errorf("%d marks: want %d", len(m), marksKept)
	}
	if of := m.of("b", 0); len(of) != 1 || of[0].Text != "all" {
		t.Errorf("%+v: want the mark of all nodes", of)
	}
	if of := m.of("a", 9999); len(of) != 1 {
		t.Errorf("%+v: want the marks after the time", of)
	}
}
