package session

// startMonitor handles MONITOR. As on a server, a second MONITOR gets no reply.
func (s *Session) startMonitor(r request) Step {
	if s.monitor {
		return Step{}
	}
	if s.cfg.Cluster {
		return notOnCluster(r.info.Name, "connect to a node")
	}
	return Step{
		Kind: Monitor, Barrier: true, Replies: 1, Raw: r.raw, Info: r.info,
		Reason: r.info.Name, onDone: (*Session).monitorStarted,
	}
}

func (s *Session) monitorStarted(_ *Step, frames [][]byte) Outcome {
	out := Outcome{Reply: frames[0]}
	if s.monitor = !isError(frames[0]); !s.monitor {
		out.Release = Release{Monitor: true, Reason: "MONITOR was refused"}
	}
	return out
}

// MonitorLost handles the end of the connection of MONITOR. The client must be closed.
func (s *Session) MonitorLost() Outcome {
	out := Outcome{Close: true, Release: Release{Monitor: s.monitor, Reason: "the conn is lost"}}
	s.monitor = false
	s.updateFastPath()
	return out
}
