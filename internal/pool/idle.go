package pool

import "slices"

// idleConns is the stack of idle conns of all subpools, the last used on top. Pool.mu guards it.
type idleConns struct {
	conns []*member
}

func (s *idleConns) len() int { return len(s.conns) }

// all returns the conns, the longest idle first. The caller must not change the stack while it uses them.
func (s *idleConns) all() []*member { return s.conns }

// push adds a conn on top.
func (s *idleConns) push(c *member) { s.conns = append(s.conns, c) }

// insert adds a conn below those that were used later.
func (s *idleConns) insert(c *member) {
	i, _ := slices.BinarySearchFunc(s.conns, c, func(x, c *member) int { return x.idleSince.Compare(c.idleSince) })
	s.conns = slices.Insert(s.conns, i, c)
}

// top returns the conn that was used last and fits; nil if none fits.
func (s *idleConns) top(fits func(*member) bool) *member {
	if i := s.topIndex(fits); i >= 0 {
		return s.conns[i]
	}
	return nil
}

// pop removes and returns the conn that top returns.
func (s *idleConns) pop(fits func(*member) bool) *member {
	i := s.topIndex(fits)
	if i < 0 {
		return nil
	}
	c := s.conns[i]
	s.conns = slices.Delete(s.conns, i, i+1)
	return c
}

func (s *idleConns) topIndex(fits func(*member) bool) int {
	for i := len(s.conns) - 1; i >= 0; i-- {
		if fits(s.conns[i]) {
			return i
		}
	}
	return -1
}

// bottom returns the conn that was idle longest and fits; nil if none fits.
func (s *idleConns) bottom(fits func(*member) bool) *member {
	for _, c := range s.conns {
		if fits(c) {
			return c
		}
	}
	return nil
}

// popBottom removes and returns the conn that was idle longest. The stack must not be empty.
func (s *idleConns) popBottom() *member {
	c := s.conns[0]
	s.conns = slices.Delete(s.conns, 0, 1)
	return c
}

// remove removes a conn, if it is there.
func (s *idleConns) remove(c *member) {
	for i := len(s.conns) - 1; i >= 0; i-- {
		if s.conns[i] == c {
			s.conns = slices.Delete(s.conns, i, i+1)
			return
		}
	}
}
