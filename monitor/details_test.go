package monitor_test

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

func TestSamplerGroupsByEachField(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	hold(t, s, 7)
	sampler := startSampler(t, s.URL(), func(c *monitor.SamplerConfig) { c.Details = true })
	st := sampler.until(t, "had listed the clients", func(st *monitor.State) bool {
		return up(st) && st.Nodes[0].List != nil && st.Nodes[0].List.Clients.Total().Clients >= 7
	})
	list := st.Nodes[0].List
	all := list.Clients.Total()
	if len(list.By) != len(monitor.DetailFields) || list.Details == nil {
		t.Fatalf("%v, %v", list.By, list.Details)
	}
	for field, groups := range list.By {
		if got := groups.Total(); got.Clients != all.Clients || got.Memory != all.Memory {
			t.Errorf("by %s: %+v: want %+v", field, groups.Total(), all)
		}
	}
	if list.Details.Total().Clients != all.Clients || len(list.Details.Sorted()[0].Key) != len(monitor.DetailFields) {
		t.Errorf("%+v", list.Details.Sorted())
	}
	if n := list.By["addr"].Of("127.0.0.1"); n != all.Clients {
		t.Errorf("%d of 127.0.0.1: want %d", n, all.Clients)
	}
	if all.Memory == 0 && s.Version().Since(7, 0) {
		t.Errorf("no memory: %+v", all)
	}
	plain := startSampler(t, s.URL(), func(*monitor.SamplerConfig) {})
	st = plain.until(t, "had listed the clients", func(st *monitor.State) bool { return up(st) && st.Nodes[0].List != nil })
	if list := st.Nodes[0].List; list.By != nil || list.Details != nil {
		t.Errorf("details that nobody requested: %+v", list)
	}
}
