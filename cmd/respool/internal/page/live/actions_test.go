package live

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// acting is a page whose user ops has the password sesame.
type acting struct {
	t       *testing.T
	url     string
	enabled atomic.Bool
	allowed atomic.Value // the proof of the user
	killed  atomic.Value // the last Closing
	log     strings.Builder
	cookie  string
	token   string
}

func newActing(t *testing.T) *acting {
	a := &acting{t: t}
	a.enabled.Store(true)
	a.allowed.Store("first")
	mux := http.NewServeMux()
	New(Config{Source: &fixed{}, Actions: &Actions{
		Enabled: a.enabled.Load, Login: func(user, password string) bool { return user == "ops" && password == "sesame" },
		Allowed: func(user string) string {
			if user != "ops" {
				return ""
			}
			return a.allowed.Load().(string)
		},
		Kill: func(_ context.Context, c Closing) (string, error) {
			a.killed.Store(c)
			return "closed 2 of 2", nil
		},
		Log: slog.New(slog.NewTextHandler(&a.log, nil)),
	}}).Register(mux)
	s := httptest.NewServer(mux)
	a.url = s.URL
	t.Cleanup(func() { s.Close(); http.DefaultClient.CloseIdleConnections() })
	return a
}

// post sends a body, with the cookie and the token of the login.
func (a *acting) post(path, body string, headers ...string) (code int, reply string) {
	a.t.Helper()
	q, err := http.NewRequest("POST", a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	if a.cookie != "" {
		q.Header.Set("Cookie", a.cookie)
	}
	if a.token != "" {
		q.Header.Set(tokenHeader, a.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		a.t.Fatal(err)
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if path == "/page/login" && r.StatusCode == http.StatusOK {
		var got access
		if err := json.Unmarshal(raw, &got); err != nil {
			a.t.Fatal(err)
		}
		set := r.Header.Get("Set-Cookie")
		if q.Header.Get("X-Forwarded-Proto") == "https" != strings.Contains(set, "Secure") || !strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Strict") {
			a.t.Errorf("the cookie is %q", set)
		}
		a.cookie, _, _ = strings.Cut(set, ";")
		a.token = got.Token
	}
	return r.StatusCode, string(raw)
}

func (a *acting) want(code int, path, body string, headers ...string) {
	a.t.Helper()
	if got, reply := a.post(path, body, headers...); got != code {
		a.t.Errorf("%s %s: %d %s: want %d", path, body, got, reply, code)
	}
}

const (
	goodLogin  = `{"user": "ops", "password": "sesame"}`
	badLogin   = `{"user": "ops", "password": "open"}`
	killOne    = `{"action": "kill", "node": "n", "id": 7, "addr": "10.0.0.1:1"}`
	killClient = `{"action": "kill", "node": "gateway", "id": 7, "addr": "10.0.0.1:1"}`
	killCart   = `{"action": "kill", "node": "n", "field": "service", "key": "cart", "count": 2}`
)

func TestActionsNeedALoginAndItsToken(t *testing.T) {
	a := newActing(t)
	kills := []string{killCart, killOne, killClient}
	for _, kill := range kills {
		a.want(401, "/page/act", kill)
	}
	a.want(401, "/page/login", badLogin)
	a.want(401, "/page/login", `{"user": "sesame", "password": ""}`) // in the wrong field
	a.want(200, "/page/login", goodLogin)
	for _, kill := range kills {
		a.want(403, "/page/act", kill, tokenHeader, "")
		a.want(403, "/page/act", kill, tokenHeader, "guess")
		a.want(401, "/page/act", kill, "Cookie", sessionCookie+"=guess")
		a.want(403, "/page/act", kill, "Origin", "https://elsewhere.example")
		a.want(403, "/page/act", kill, "Sec-Fetch-Site", "cross-site")
		a.want(403, "/page/act", kill, "Content-Type", "text/plain")
	}
	a.want(400, "/page/act", `{"action": "kill"}`)
	a.want(400, "/page/act", `{"action": "kill", "node": "n", "id": 7}`)                               // no address
	a.want(400, "/page/act", `{"action": "kill", "node": "n", "id": -7, "addr": "10.0.0.1:1"}`)        // no connection
	a.want(400, "/page/act", `{"action": "kill", "node": "n", "id": 7, "addr": "a:1", "key": "cart"}`) // one, or a group
	a.want(400, "/page/act", `{"action": "pause", "seconds": 5}`)                                      // there is no gateway
	a.want(400, "/page/act", `{"action": `)
	if a.killed.Load() != nil {
		t.Fatalf("%v was closed", a.killed.Load())
	}
	for i, want := range []Closing{{Node: "n", Field: "service", Key: "cart", Counted: 2}, {Node: "n", ID: 7, Addr: "10.0.0.1:1"}, {Node: GatewayNode, ID: 7, Addr: "10.0.0.1:1"}} {
		a.want(200, "/page/act", kills[i])
		if got := a.killed.Load(); got != want {
			t.Errorf("%+v: want %+v", got, want)
		}
	}
	if text := a.log.String(); !strings.Contains(text, "login refused") || !strings.Contains(text, "action=kill user=ops") || !strings.Contains(text, "id=7 addr=10.0.0.1:1") || strings.Contains(text, "sesame") {
		t.Error(text)
	}
	a.want(200, "/page/login", goodLogin, "X-Forwarded-Proto", "https")
	a.want(200, "/page/logout", `{}`)
	a.want(401, "/page/act", killCart)
}

func TestAReloadEndsTheRightToAct(t *testing.T) {
	a := newActing(t)
	a.want(200, "/page/login", goodLogin)
	a.allowed.Store("")
	a.want(401, "/page/act", killCart)
	a.allowed.Store("first")
	a.want(200, "/page/act", killCart)
	a.allowed.Store("second") // another password
	a.want(401, "/page/act", killCart)
	a.want(200, "/page/login", goodLogin)
	a.want(200, "/page/act", killCart)
	a.enabled.Store(false)
	a.want(403, "/page/act", killCart)
	a.want(403, "/page/login", goodLogin)
}

func TestWrongPasswordsAreLimited(t *testing.T) {
	a := newActing(t)
	for range attemptsHost {
		a.want(401, "/page/login", badLogin)
	}
	a.want(429, "/page/login", goodLogin)
	var s sessions
	now := time.Unix(1000, 0)
	n := 0
	for i := range 1000 {
		if s.mayTry(fmt.Sprint("host", i), now) {
			n++
		}
	}
	if n != attemptsAll {
		t.Errorf("%d attempts of many hosts: want %d", n, attemptsAll)
	}
	if !s.mayTry("host", now.Add(attemptsSpan)) {
		t.Error("the limit does not end")
	}
	s.succeeded("host")
	if s.all != 0 || len(s.failed) != 0 {
		t.Errorf("%+v after a login", s.failed)
	}
}

func TestSessionsAreBoundedAndEnd(t *testing.T) {
	var s sessions
	now := time.Unix(1000, 0)
	with := func(cookie string) *http.Request {
		q := httptest.NewRequest("GET", "/", nil)
		q.AddCookie(&http.Cookie{Name: sessionCookie, Value: cookie})
		return q
	}
	first, _ := s.add("ops", "first", now)
	last := first
	for i := range sessionsMost {
		last, _ = s.add("ops", "first", now.Add(time.Duration(i+1)*time.Second))
	}
	if _, ok := s.of(with(first), now); ok || len(s.open) != sessionsMost {
		t.Errorf("%d sessions; the oldest is among them: %v", len(s.open), ok)
	}
	if one, ok := s.of(with(last), now); !ok || one.user != "ops" {
		t.Errorf("%+v, %v: want the last session", one, ok)
	}
	if _, ok := s.of(with(last), now.Add(sessionTime+time.Hour)); ok {
		t.Error("a session does not end")
	}
}
