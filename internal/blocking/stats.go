package blocking

import "time"

// Counts are the figures of one command.
type Counts struct {
	Waiting   int           // waits now
	Served    uint64        // waits that ended with data
	TimedOut  uint64        // waits that ended with their timeout
	Canceled  uint64        // waits that their caller, CLIENT UNBLOCK or Close ended
	Failed    uint64        // waits that ended with an error of the server or of the connection
	Tries     uint64        // non-blocking commands sent
	Spurious  uint64        // of Tries: found no data, after the first one of their wait
	GivenBack uint64        // elements that nobody took and that went back to their key
	Dropped   uint64        // replies of BLMOVE or XREADGROUP for which nobody was left
	Lost      uint64        // elements that could not go back, and attempts that were sent and had no reply
	Longest   time.Duration // the longest wait that has ended
}

func (s *Counts) ended(why reason, took int64) {
	s.Waiting--
	s.Longest = max(s.Longest, time.Duration(took))
	switch why {
	case servedReason:
		s.Served++
	case timeoutReason:
		s.TimedOut++
	case cancelReason:
		s.Canceled++
	default:
		s.Failed++
	}
}

// Stats are the figures of all waits of a node.
type Stats struct {
	Waiting  int               // waits now
	InFlight int               // commands in flight, or about to be sent
	Keys     int               // distinct keys that somebody waits for
	Commands map[string]Counts // by name in upper case
}

func (c *core) snapshot() Stats {
	s := Stats{Waiting: c.waiting, InFlight: c.inFlight, Keys: len(c.names), Commands: make(map[string]Counts, len(c.stats))}
	for name, counts := range c.stats {
		s.Commands[name] = *counts
	}
	return s
}
