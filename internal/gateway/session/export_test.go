package session

import "reflect"

// ID returns the reply to CLIENT ID.
func (s *Session) ID() int64 { return s.id }

// Addr returns the client's address.
func (s *Session) Addr() string { return s.addr }

// Pinned reports whether the session holds a dedicated connection.
func (s *Session) Pinned() bool { return s.pin.held() }

// Subscriptions returns the number of subscriptions of each kind.
func (s *Session) Subscriptions() (channels, patterns, shards int) {
	return len(s.subscriptions[Channel].order), len(s.subscriptions[Pattern].order), len(s.subscriptions[Shard].order)
}

// IsNew reports whether a session equals a new one, apart from the library and the last command, which RESET keeps.
func (s *Session) IsNew() bool {
	fresh := New(s.cfg, s.id, s.addr)
	fresh.attributes.library, fresh.last, fresh.ended = s.attributes.library, s.last, s.ended
	return reflect.DeepEqual(s, fresh)
}

// HasRule reports whether a command has a rule, and whether the session handles the command with it.
func HasRule(name string) (has, handles bool) {
	for info, r := range rules {
		if info.Name == name {
			return true, r.run != nil || r.policy == noClient
		}
	}
	return false, false
}

// RuleNames returns the names of all named rules.
func RuleNames() map[string]bool {
	names := map[string]bool{}
	for name := range namedRules {
		names[name] = true
	}
	return names
}

// Policy returns the clients that may run a command: any, admin or none.
func Policy(name string) string {
	for info, r := range rules {
		if info.Name == name {
			return [...]string{"any", "admin", "none"}[r.policy]
		}
	}
	return "any"
}
