package sentinel

import "time"

// step is what the parts of a Machine share during a Step: the configuration, the time, and the actions so far.
type step struct {
	cfg Config
	now time.Duration
	seq uint64 // the last Seq
	out []Action
}

func (s *step) do(a Action) { s.out = append(s.out, a) }

func (s *step) nextSeq() uint64 {
	s.seq++
	return s.seq
}

// pause returns the pause after n consecutive failures.
func (s *step) pause(n int) time.Duration {
	d := s.cfg.BackoffCap
	if n < 20 {
		d = min(d, s.cfg.BackoffBase<<n)
	}
	return d/2 + time.Duration(s.cfg.Rand.Int64N(int64(d/2)+1))
}

// pollPause returns the time until the next query of a sentinel.
func (s *step) pollPause() time.Duration {
	return s.cfg.Poll*3/4 + time.Duration(s.cfg.Rand.Int64N(int64(s.cfg.Poll/2)+1))
}

// doubtAfter returns the time after which a query in flight casts doubt on the other connections.
func (s *step) doubtAfter() time.Duration { return s.cfg.QueryTimeout / 4 }

// probe sends a wanted query at its time, and reports whether it did.
func (s *step) probe(p *probe, addr string) bool {
	if !p.wanted || p.seq != 0 || s.now < p.retryAt {
		return false
	}
	p.seq, p.due = s.nextSeq(), s.now+s.cfg.QueryTimeout
	s.do(Verify{Seq: p.seq, Addr: s.cfg.MapAddr(addr)})
	return true
}
