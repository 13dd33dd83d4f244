package clients

import "github.com/seed-2b0d76a6/respool/monitor"

// Crowded reports whether a server uses so much of its maxclients that the rules report it.
func (r *HoldersReport) Crowded() bool {
	for _, n := range r.Nodes {
		if n.Connections != nil && monitor.Crowded(int64(*n.Connections), n.MaxClients) {
			return true
		}
	}
	return len(r.Nodes) == 0 && monitor.Crowded(int64(r.Connections), r.MaxClients)
}
