package quota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Limits are those of one user, for all clients of the user together. A value of 0 is no limit.
type Limits struct {
	MaxClients     int // connections of clients
	MaxConnections int // dedicated connections to the server
	Rate           Rate
}

// ErrOverLimit is the cause of every error of this package.
var ErrOverLimit = errors.New("over a limit")

// overLimit is an ErrOverLimit with a text for clients.
type overLimit string

func (e overLimit) Error() string        { return string(e) }
func (e overLimit) Is(target error) bool { return target == ErrOverLimit }

// User counts what the clients of one user hold. A nil User has no limits. All methods are safe for concurrent use.
type User struct {
	name string

	mu             sync.Mutex
	limits         Limits
	rates          rates
	clients, conns int
	waiting        []chan struct{} // for a connection, in order; closed when the waiter has it
	waits, refused uint64
}

// UserStats is a snapshot of one user.
type UserStats struct {
	Name        string
	Limits      Limits
	Clients     int    // connections of clients
	Connections int    // dedicated connections to the server
	Waits       uint64 // commands that waited because of a limit
	Refused     uint64 // commands and clients refused because of a limit
}

// Stats returns a snapshot.
func (u *User) Stats() UserStats {
	u.mu.Lock()
	defer u.mu.Unlock()
	return UserStats{Name: u.name, Limits: u.limits, Clients: u.clients, Connections: u.conns, Waits: u.waits, Refused: u.refused}
}

// setLimits changes the limits. What is beyond a lower limit stays.
func (u *User) setLimits(to Limits, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.limits = to
	u.rates.limit(to.Rate, now)
	u.grantLocked()
}

// HasRate reports whether the rate of the user is limited.
func (u *User) HasRate() bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.rates.limited()
}

// Enter counts a client. It returns false, and counts a refusal, if the user has its most clients.
func (u *User) Enter() bool {
	if u == nil {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.limits.MaxClients > 0 && u.clients >= u.limits.MaxClients {
		u.refused++
		return false
	}
	u.clients++
	return true
}

// EnterBeyond counts a client that stays although the user may have its most clients.
func (u *User) EnterBeyond() {
	if u != nil {
		u.mu.Lock()
		u.clients++
		u.mu.Unlock()
	}
}

// LeaveBeyond ends an EnterBeyond, and counts a refusal, if the user has more than its most clients. It reports whether
// it did.
func (u *User) LeaveBeyond() bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.limits.MaxClients == 0 || u.clients <= u.limits.MaxClients {
		return false
	}
	u.clients--
	u.refused++
	return true
}

// Leave ends an Enter.
func (u *User) Leave() {
	if u != nil {
		u.mu.Lock()
		u.clients--
		u.mu.Unlock()
	}
}

// Acquire counts a dedicated connection. If the user has its most connections, it waits in order until one is released,
// for at most the time most, and then returns an ErrOverLimit.
func (u *User) Acquire(ctx context.Context, most time.Duration) error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	if u.limits.MaxConnections == 0 || u.conns < u.limits.MaxConnections && len(u.waiting) == 0 {
		u.conns++
		u.mu.Unlock()
		return nil
	}
	u.waits++
	granted := make(chan struct{})
	u.waiting = append(u.waiting, granted)
	u.mu.Unlock()
	timer := time.NewTimer(most)
	defer timer.Stop()
	var err error
	select {
	case <-granted:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.Index(u.waiting, granted)
	switch {
	case i < 0 && err == nil: // it came with the timer
		return nil
	case i < 0:
		u.releaseLocked()
		return err
	}
	u.waiting = slices.Delete(u.waiting, i, i+1)
	if err != nil {
		return err
	}
	u.refused++
	return overLimit(fmt.Sprintf("user %s holds its max_connections of %d dedicated connections (the command was not sent)", u.name, u.limits.MaxConnections))
}

// Release ends an Acquire.
func (u *User) Release() {
	if u != nil {
		u.mu.Lock()
		u.releaseLocked()
		u.mu.Unlock()
	}
}

func (u *User) releaseLocked() {
	u.conns--
	u.grantLocked()
}

// grantLocked passes free connections to the waiters.
func (u *User) grantLocked() {
	for len(u.waiting) > 0 && (u.limits.MaxConnections == 0 || u.conns < u.limits.MaxConnections) {
		u.conns++
		close(u.waiting[0])
		u.waiting = slices.Delete(u.waiting, 0, 1)
	}
}

// Users are the users of a gateway by name. The zero value is empty. All methods are safe for concurrent use.
type Users struct {
	mu     sync.Mutex
	byName map[string]*User
}

// Set replaces the limits of all users, and forgets those without any. A user that stays keeps its counts.
func (s *Users) Set(limits map[string]Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	old := s.byName
	s.byName = make(map[string]*User, len(limits))
	for name, l := range limits {
		u := old[name]
		if u == nil {
			u = &User{name: name}
		}
		u.setLimits(l, now)
		s.byName[name] = u
	}
}

// Get returns a user, or nil.
func (s *Users) Get(name string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[name]
}

// Stats returns a snapshot of each user that has limits, by name.
func (s *Users) Stats() (list []UserStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.byName {
		if of := u.Stats(); of.Limits != (Limits{}) {
			list = append(list, of)
		}
	}
	slices.SortFunc(list, func(a, b UserStats) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
