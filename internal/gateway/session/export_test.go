package session

import "reflect"

// IsNew is whether a session is as a new one, apart from what no RESET touches: its id and
// address, the library that the client told of and the last command.
func (s *Session) IsNew() bool {
	fresh := New(s.cfg, s.id, s.addr)
	fresh.lib, fresh.last, fresh.ended = s.lib, s.last, s.ended
	return reflect.DeepEqual(s, fresh)
}

// HasRule is whether the session knows more of a command than the command table does, and
// CarriesOut whether it decides by itself what becomes of it.
func HasRule(name string) (has, carriesOut bool) {
	for info, r := range rules {
		if info.Name == name {
			return true, r.run != nil || r.policy == noClient
		}
	}
	return false, false
}

// Listed are the names of all rules.
func Listed() map[string]bool {
	names := map[string]bool{}
	for name := range namedRules {
		names[name] = true
	}
	return names
}

// Policy is who may send a command: free, operator or nobody.
func Policy(name string) string {
	for info, r := range rules {
		if info.Name == name {
			return [...]string{"free", "operator", "nobody"}[r.policy]
		}
	}
	return "free"
}
