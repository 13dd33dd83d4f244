package page

import (
	"net/http"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Sight is the body of the page /readyz of a watch: whether it sees the connections of all servers.
type Sight struct {
	Status string   `json:"status"` // ok, blind, or waiting for the first reply
	Unseen []Unseen `json:"unseen,omitempty"`
}

// Unseen is a server whose connections the watch does not see.
type Unseen struct {
	Addr   string `json:"addr"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy,omitempty"`
}

// Sight serves the page /readyz of a watch: 200 if it sees the connections of all servers, otherwise 503.
func (p *Pages) Sight(rw http.ResponseWriter, _ *http.Request) {
	s := sightOf(p.source.State())
	code := http.StatusOK
	if s.Status != "ok" {
		code = http.StatusServiceUnavailable
	}
	WriteJSON(rw, code, s)
}

func sightOf(st *monitor.State) Sight {
	s := Sight{Status: "ok"}
	if st.Err != nil {
		s.Unseen = append(s.Unseen, Unseen{Addr: st.Service, Reason: st.Err.Error()})
	}
	waiting := len(st.Nodes) == 0
	for i := range st.Nodes {
		n := &st.Nodes[i]
		switch {
		case n.Err != nil:
			s.Unseen = append(s.Unseen, Unseen{Addr: n.Addr, Reason: n.Err.Error()})
		case n.Last == nil:
			waiting = true
		default:
			if reason, remedy := n.Last.Blind(); reason != "" {
				s.Unseen = append(s.Unseen, Unseen{n.Addr, reason, remedy})
			}
		}
	}
	switch {
	case len(s.Unseen) > 0:
		s.Status = "blind"
	case waiting:
		s.Status = "waiting"
	}
	return s
}
