package monitor

import (
	"io"
	"slices"
	"strconv"
	"time"
)

// Snapshot is what a server showed at one moment. It is not changed.
type Snapshot struct {
	At          time.Time
	Info        Info
	Config      map[string]string // what CONFIG GET told, where that is allowed
	MaxClients  int64             // 0: not known
	Assumed     string            // whose documented limit MaxClients is, where the server does not tell; empty: no assumption
	Connections int64             // what counts against it; what took the snapshot is left out
	Clients     *Groups           // by service; nil where CLIENT LIST is not allowed or was not asked for
	Owners      *Groups           // the same by service, library and user
	Replication int               // of the clients, those of replicas and of the primary
	LongIdle    map[string]int    // by service: idle for LeakIdle or longer, neither blocked nor subscribed

	ids   []int64          // of all clients that count, in order
	young map[int64]string // the services of those that are not older than youngAge
}

// LeakIdle is from when on an idle connection may be one that nobody gives back.
const LeakIdle = 10 * time.Minute

// Source is the raw material of a snapshot.
type Source struct {
	At     time.Time
	Info   string
	Config map[string]string
	List   io.Reader // CLIENT LIST; nil: not there
	Own    string    // the name of the connections that asked: they do not count
	Owned  int64     // how many those are; 0: 1
	Limit  int64     // maxclients as somebody said; 0: what the server tells
}

// NewSnapshot reads what a server showed.
func NewSnapshot(s Source) (*Snapshot, error) {
	snap := newSnapshot(&s)
	if s.List == nil {
		return snap, nil
	}
	clients := snap.listClients(s.Own)
	err := EachClient(s.List, clients.add)
	clients.done()
	return snap, err
}

func newSnapshot(s *Source) *Snapshot {
	snap := &Snapshot{At: s.At, Info: ParseInfo(s.Info), Config: s.Config, MaxClients: s.Limit}
	if snap.MaxClients == 0 {
		snap.MaxClients, _ = snap.Info.MaxClients()
	}
	if snap.MaxClients == 0 {
		snap.MaxClients, _ = strconv.ParseInt(s.Config["maxclients"], 10, 64)
	}
	n, _ := snap.Info.Connections()
	snap.Connections = max(0, n-max(1, s.Owned))
	return snap
}

// clientList gathers the clients of a snapshot that is being made.
type clientList struct {
	snap             *Snapshot
	own              string
	services, owners *Groups
}

func (s *Snapshot) listClients(own string) *clientList {
	s.LongIdle, s.young = map[string]int{}, map[int64]string{}
	return &clientList{s, own, newGroups("service"), newGroups("service", "lib", "user")}
}

func (l *clientList) add(c Client) error {
	switch {
	case c.Name == l.own && l.own != "":
		return nil
	case c.Replication():
		l.snap.Replication++
		return nil
	}
	l.snap.ids = append(l.snap.ids, c.ID)
	if c.Age <= youngAge && c.Command != "NULL" { // who ran nothing yet may be about to say its name
		l.snap.young[c.ID] = c.Service()
	}
	l.services.Add(&c)
	l.owners.Add(&c)
	if c.Idle >= LeakIdle && !c.Blocked() && !c.Subscribed() {
		l.snap.LongIdle[c.Service()]++
	}
	return nil
}

// done ends the gathering.
func (l *clientList) done() {
	s := l.snap
	if _, told := s.Info.Connections(); !told {
		s.Connections = int64(l.services.Total().Clients + s.Replication)
	}
	slices.Sort(s.ids)
	l.services.Sorted() // now, so that many may read them
	l.owners.Sorted()
	s.Clients, s.Owners = l.services, l.owners
}

// Rate gives by how much a counter of INFO grew a second from an earlier
// snapshot to this one. ok is false where one of them does not tell, no time
// has passed, or the server was restarted between them.
func (s *Snapshot) Rate(before *Snapshot, counter string) (perSecond float64, ok bool) {
	a, okA := before.Info.Int(counter)
	b, okB := s.Info.Int(counter)
	took := s.At.Sub(before.At).Seconds()
	if !okA || !okB || b < a || took <= 0 || !before.SameRun(s) {
		return 0, false
	}
	return float64(b-a) / took, true
}

// SameRun reports whether the server was not restarted until a later snapshot.
func (s *Snapshot) SameRun(later *Snapshot) bool {
	if run := s.Info.Text("run_id"); run != "" || later.Info.Text("run_id") != "" {
		return run == later.Info.Text("run_id") // counters may be set back: CONFIG RESETSTAT
	}
	// Counters only grow within a run.
	for _, counter := range []string{"total_connections_received", "total_commands_processed"} {
		a, okA := s.Info.Int(counter)
		b, okB := later.Info.Int(counter)
		if okA && okB && b < a {
			return false
		}
	}
	return true
}

// Occupancy is the share of maxclients that is taken, and whether it is known.
func (s *Snapshot) Occupancy() (float64, bool) {
	if s.MaxClients <= 0 {
		return 0, false
	}
	return float64(s.Connections) / float64(s.MaxClients), true
}
