package session

import (
	"fmt"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// Snapshot is the state of a session that can move to another process. It contains no secrets and no data.
type Snapshot struct {
	ID   int64
	Addr string // of the client

	Identity      Identity
	Authenticated bool
	ServerDecides bool
	ReadOnly      bool
	WatchLost     bool // watched keys were lost with their connection

	Name                        string
	LibraryName, LibraryVersion string
	NoEvict, NoTouch            bool
	RepliesOff, SkipsNextReply  bool

	// Topics are the subscriptions: those of each kind in the order of their subscription.
	Topics []Topic
	// LastCommand is the name of the last command, such as CONFIG GET, or empty.
	LastCommand string
}

// Movable reports whether a snapshot holds the whole state: the session is not in a transaction, and it holds no
// connection.
func (s *Session) Movable() bool {
	return !s.multi.open && !s.pin.held() && !s.monitor && !s.ended
}

// Snapshot returns the state of a session that is Movable. The steps of all its requests must be done.
func (s *Session) Snapshot() Snapshot {
	snap := Snapshot{
		ID: s.id, Addr: s.addr, Identity: s.identity, Authenticated: s.authenticated, ServerDecides: s.serverDecides,
		ReadOnly: s.readOnly, WatchLost: s.pin.watchLost,
		Name: s.attributes.name, LibraryName: s.attributes.library.name, LibraryVersion: s.attributes.library.version,
		NoEvict: s.attributes.noEvict, NoTouch: s.attributes.noTouch,
		RepliesOff: s.replies.off, SkipsNextReply: s.replies.skipNext, Topics: s.subscriptions.all(),
	}
	if s.last != nil {
		snap.LastCommand = s.last.Name
	}
	return snap
}

// Retake notes that the request of a step, which is not done, will come again.
func (s *Session) Retake(step *Step) {
	s.replies.skipNext = step.Silent && !s.replies.off
	s.updateFastPath()
}

// Restore returns a session in the state of a snapshot. It returns an error if no session can have this state.
func Restore(cfg *Config, snap *Snapshot) (*Session, error) {
	if err := snap.check(); err != nil {
		return nil, fmt.Errorf("gateway: restore session %d: %w", snap.ID, err)
	}
	s := New(cfg, snap.ID, snap.Addr)
	s.identity, s.authenticated, s.serverDecides = snap.Identity, snap.Authenticated, snap.ServerDecides
	s.readOnly, s.pin.watchLost = snap.ReadOnly, snap.WatchLost
	s.attributes = attributes{
		name: snap.Name, library: library{snap.LibraryName, snap.LibraryVersion}, noEvict: snap.NoEvict, noTouch: snap.NoTouch,
	}
	s.replies = replyMode{off: snap.RepliesOff, skipNext: snap.SkipsNextReply}
	for i := range snap.Topics {
		s.subscriptions[snap.Topics[i].Kind].add(snap.Topics[i].Name)
	}
	s.last = lastCommand(snap.LastCommand)
	s.updateFastPath()
	return s, nil
}

// check returns an error if no session can have this state.
func (snap *Snapshot) check() error {
	switch id := snap.Identity; {
	case id.Proto != 2 && id.Proto != 3:
		return fmt.Errorf("protocol %d: want 2 or 3", id.Proto)
	case id.DB < 0:
		return fmt.Errorf("database %d: want 0 or more", id.DB)
	case id.User == "":
		return fmt.Errorf("no user: want the name of one")
	}
	for _, text := range []string{snap.Name, snap.LibraryName, snap.LibraryVersion} {
		if !validName([]byte(text)) {
			return fmt.Errorf("the name %.40q: want one without spaces and special characters", text)
		}
	}
	for _, topic := range snap.Topics {
		if topic.Kind >= topicKinds {
			return fmt.Errorf("a subscription of kind %d: want 0 to %d", topic.Kind, topicKinds-1)
		}
	}
	return nil
}

// lastCommand returns the description of a command for CLIENT LIST: of the command table, or only its name if that lacks
// it.
func lastCommand(name string) *command.Info {
	if name == "" {
		return nil
	}
	container, sub, isSub := strings.Cut(name, " ")
	info := command.Lookup(container)
	if isSub {
		info = command.LookupSub(container, sub)
	}
	if info == nil {
		info = &command.Info{Name: name}
	}
	return info
}
