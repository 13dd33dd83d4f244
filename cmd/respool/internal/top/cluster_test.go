package top

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/monitor"
)

func TestTopNamesWhatAClusterLacks(t *testing.T) {
	m, err := monitor.ParseClusterMap("a1 h:1@11 myself,master - 0 0 1 connected 0-8191\nb1 h:2@11 master,fail - 0 0 2 disconnected 8192-16383", "", "h:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	st := &monitor.State{Service: "cluster of h:1", Cluster: m, Nodes: []monitor.NodeState{{Addr: "h:1", Role: "primary", Up: true, Last: &monitor.Snapshot{MaxClients: 10}}}}
	shown := func() string {
		screen := newModel(st)
		screen.width, screen.height = 100, 24
		return strings.Join(screen.lines(), "\n")
	}
	if text := shown(); !strings.Contains(text, "NO NODE for 8192 slots: 8192-16383; without a replica: h:1") {
		t.Errorf("the screen is\n%s", text)
	}
	st.Cluster, st.Err = &monitor.ClusterMap{}, errors.New("no node answers")
	if text := shown(); strings.Contains(text, "slots") || !strings.Contains(text, "cluster: no node answers") {
		t.Errorf("the screen is\n%s", text)
	}
}
