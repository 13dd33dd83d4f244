package live

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"
)

const (
	sessionCookie = "respool_page"
	sessionTime   = 8 * time.Hour
	sessionsMost  = 100
	tokenHeader   = "X-CSRF-Token"

	attemptsSpan = time.Minute
	attemptsHost = 5  // wrong passwords of one host in attemptsSpan
	attemptsAll  = 30 // of all hosts
)

// session is a user who has logged in.
type session struct {
	user  string
	proof string // what Actions.Allowed returned at the login
	token string // that each action has to send beside the cookie
	until time.Time
}

// sessions are the logins of a process. They end with it.
type sessions struct {
	mu     sync.Mutex
	open   map[[sha256.Size]byte]session // by the hash of the cookie, so that a lookup reveals nothing by its time
	window time.Time                     // when the present count of attempts began
	failed map[string]int                // attempts by host
	all    int
}

// mayTry counts an attempt to log in. It reports false if there were too many.
func (s *sessions) mayTry(host string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil || now.Sub(s.window) >= attemptsSpan {
		s.window, s.failed, s.all = now, map[string]int{}, 0
	}
	if s.all >= attemptsAll || s.failed[host] >= attemptsHost {
		return false
	}
	s.all++
	s.failed[host]++
	return true
}

// succeeded forgets the attempts of a host that has logged in.
func (s *sessions) succeeded(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all -= min(s.all, s.failed[host])
	delete(s.failed, host)
}

// add opens a session, and returns its cookie. The oldest session ends if there are too many.
func (s *sessions) add(user, proof string, now time.Time) (cookie string, one session) {
	cookie, one = rand.Text(), session{user, proof, rand.Text(), now.Add(sessionTime)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[[sha256.Size]byte]session{}
	}
	for len(s.open) >= sessionsMost {
		var oldest [sha256.Size]byte
		first := true
		for key, other := range s.open {
			if first || other.until.Before(s.open[oldest].until) {
				oldest, first = key, false
			}
		}
		delete(s.open, oldest)
	}
	s.open[sha256.Sum256([]byte(cookie))] = one
	return cookie, one
}

// of returns the session of a request.
func (s *sessions) of(q *http.Request, now time.Time) (one session, ok bool) {
	c, err := q.Cookie(sessionCookie)
	if err != nil {
		return one, false
	}
	key := sha256.Sum256([]byte(c.Value))
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok = s.open[key]
	if ok && now.After(one.until) {
		delete(s.open, key)
		return session{}, false
	}
	return one, ok
}

// end ends the session of a request.
func (s *sessions) end(q *http.Request) {
	if c, err := q.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, sha256.Sum256([]byte(c.Value)))
	}
}

// hasToken reports whether a request has the token of its session.
func (s session) hasToken(q *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(q.Header.Get(tokenHeader)), []byte(s.token)) == 1
}

// setCookie sets the cookie of a session in a browser; empty: removes it.
func setCookie(rw http.ResponseWriter, q *http.Request, value string) {
	secure := q.TLS != nil || q.Header.Get("X-Forwarded-Proto") == "https" // a proxy with TLS is in front
	c := &http.Cookie{Name: sessionCookie, Value: value, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionTime.Seconds())}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(rw, c)
}
