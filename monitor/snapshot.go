package monitor

import (
	"io"
	"slices"
	"strconv"
	"time"
)

// Snapshot is the state of a server at one moment. It does not change, so concurrent use is safe.
type Snapshot struct {
	At          time.Time
	Info        Info
	Config      map[string]string  // settings by CONFIG GET, if allowed
	MaxClients  int64              // 0: unknown
	Assumed     string             // the provider whose documented limit is MaxClients, if the server does not report one; empty: reported
	Uncounted   bool               // Connections is unknown, and 0
	Connections int64              // connections that count against it, without those of the monitor
	Refused     map[string]string  // commands that the server refuses, such as CONFIG GET, with the reasons
	User        string             // user of the monitor's connection
	Clients     *Groups            // by service; nil if CLIENT LIST is refused or was not requested
	Owners      *Groups            // the same by service, library and user
	By          map[string]*Groups // the same by each of DetailFields; nil if it was not requested
	Details     *Groups            // the same by all of DetailFields; nil if it was not requested
	Replication int                // connections of replicas and of the primary among the clients
	LongIdle    map[string]int     // by service: idle for LeakIdle or longer, neither blocked nor subscribed
	Cluster     *ClusterMap        // as this server reports it; nil if it was not requested, or is refused
	Unnamed     *Unnamed           // the service without names that holds most connections; nil if there is none, or it was not requested
	Multiplexed bool               // some clients may wait in blocking commands without a connection: Client.Multiplexes
	Heavy       []Client           // the clients with the most memory in their buffers, heavyLeast or more, the largest first

	ids   []int64             // of all clients that count, sorted
	young map[int64]shortConn // the clients up to youngAge

	senders *Groups // the clients by their last command and service; nil if Clients is
	load    *load   // what commands cost; nil if it was not requested
}

// LeakIdle is the idle time after which a connection may be leaked.
const LeakIdle = 10 * time.Minute

// Source is the input of a snapshot.
type Source struct {
	At     time.Time
	Info   string
	Config map[string]string
	List   io.Reader // CLIENT LIST; nil: not available
	Own    string    // name of the monitor's own connections, which do not count
	Owned  int64     // their number; 0: 1; NoneOwned: none
	Limit  int64     // overrides maxclients; 0: the reported one
	Detail bool      // fill By and Details
	Here   bool      // the server runs in this process: fill Unnamed, with the processes of clients on this machine
}

// NoneOwned states that the monitor has no connections of its own.
const NoneOwned = -1

// owned returns the number of the monitor's own connections.
func (s *Source) owned() int64 {
	switch s.Owned {
	case 0:
		return 1
	case NoneOwned:
		return 0
	}
	return s.Owned
}

// NewSnapshot parses the state of a server. It returns the error of s.List.
func NewSnapshot(s Source) (*Snapshot, error) {
	snap := newSnapshot(&s)
	if s.List == nil {
		return snap, nil
	}
	clients := snap.listClients(s.Own)
	if s.Detail {
		clients.detailed()
	}
	if s.Here {
		clients.unnamed = &unnamedList{here: true}
	}
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
	n, ok := snap.Info.Connections()
	snap.Uncounted, snap.Connections = !ok, max(0, n-s.owned())
	return snap
}

// clientList collects the clients of a new snapshot.
type clientList struct {
	snap             *Snapshot
	own              string
	services, owners *Groups
	by               map[string]*Groups // nil: no details
	details          *Groups
	senders          *Groups
	unnamed          *unnamedList // nil: not requested
}

func (s *Snapshot) listClients(own string) *clientList {
	s.LongIdle, s.young = map[string]int{}, map[int64]shortConn{}
	return &clientList{snap: s, own: own, services: newGroups("service"), owners: newGroups("service", "lib", "user"), senders: newGroups("cmd", "service")}
}

// DetailFields are the fields of Snapshot.By, and the keys of Snapshot.Details in this order. The
// caller must not change them.
var DetailFields = []string{"service", "addr", "user", "lib", "cmd"}

// detailed makes the snapshot contain By and Details.
func (l *clientList) detailed() {
	l.by, l.details = map[string]*Groups{}, newGroups(DetailFields...)
	for _, field := range DetailFields {
		l.by[field] = newGroups(field)
	}
}

func (l *clientList) add(c Client) error {
	if l.unnamed != nil && l.unnamed.isOwn(&c) {
		l.unnamed.own = c
	}
	switch {
	case c.Name == l.own && l.own != "":
		return nil
	case c.Replication():
		l.snap.Replication++
		return nil
	}
	l.snap.ids = append(l.snap.ids, c.ID)
	if c.Age <= youngAge && c.Command != "NULL" { // a client without a command may set its name next
		l.snap.young[c.ID] = shortConnOf(&c)
	}
	l.services.Add(&c)
	l.owners.Add(&c)
	for _, g := range l.by {
		g.Add(&c)
	}
	if l.details != nil {
		l.details.Add(&c)
	}
	l.senders.Add(&c)
	l.snap.Multiplexed = l.snap.Multiplexed || c.Multiplexes()
	l.snap.weigh(&c)
	if l.unnamed != nil {
		l.unnamed.add(&c)
	}
	if c.Idle >= LeakIdle && !c.Blocked() && !c.Subscribed() {
		l.snap.LongIdle[c.Service()]++
	}
	return nil
}

// done completes the snapshot.
func (l *clientList) done() {
	s := l.snap
	if s.Uncounted {
		s.Uncounted, s.Connections = false, int64(l.services.Total().Clients+s.Replication)
	}
	slices.Sort(s.ids)
	l.services.Sorted() // sorts now, so that concurrent reads are safe
	l.owners.Sorted()
	for _, g := range l.by {
		g.Sorted()
	}
	if s.By, s.Details = l.by, l.details; s.Details != nil {
		s.Details.Sorted()
	}
	if l.unnamed != nil {
		s.Unnamed = l.unnamed.split(l.services)
	}
	s.Clients, s.Owners, s.senders = l.services, l.owners, l.senders
}

// Rate returns the increase per second of a counter of INFO since an earlier snapshot. ok is false
// if one of them lacks the counter, no time has passed, or the server restarted between them.
func (s *Snapshot) Rate(before *Snapshot, counter string) (perSecond float64, ok bool) {
	a, okA := before.Info.Int(counter)
	b, okB := s.Info.Int(counter)
	took := s.At.Sub(before.At).Seconds()
	if !okA || !okB || b < a || took <= 0 || !before.SameRun(s) {
		return 0, false
	}
	return float64(b-a) / took, true
}

// SameRun reports whether the server did not restart before a later snapshot.
func (s *Snapshot) SameRun(later *Snapshot) bool {
	if run := s.Info.Text("run_id"); run != "" || later.Info.Text("run_id") != "" {
		return run == later.Info.Text("run_id") // CONFIG RESETSTAT may reset counters
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

// Role returns primary or replica.
func (s *Snapshot) Role() string {
	if s.Info.Text("role") == "slave" {
		return "replica"
	}
	return "primary"
}

// Occupancy returns the used share of maxclients. ok is false if it is unknown.
func (s *Snapshot) Occupancy() (float64, bool) {
	if s.MaxClients <= 0 || s.Uncounted {
		return 0, false
	}
	return float64(s.Connections) / float64(s.MaxClients), true
}
