package live

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
)

// Actions are what a user may do after a login. The functions are safe for concurrent use.
type Actions struct {
	Enabled func() bool                      // the configuration allows actions
	Login   func(user, password string) bool // the user may act, and this is the password; in constant time
	// Allowed returns a text that changes with the passwords of a user; empty: the user may not act any more.
	Allowed func(user string) string
	// Kill closes connections, and returns the outcome in words.
	Kill   func(context.Context, Closing) (string, error)
	Pause  func(d time.Duration) // nil: there is no gateway
	Resume func()
	Log    *slog.Logger // receives each login and action

	sessions sessions
	closed   func() // called after Kill; nil: nothing
}

// Closing selects the connections that an action closes: one, or those of a group.
type Closing struct {
	Node string // GatewayNode: clients of the gateway

	ID   int64  // 0: a group
	Addr string // of the one connection

	Field, Key string // of the group
	Counted    int    // connections of the group when the user saw it: no more are closed
}

// access is the body of /page/session.
type access struct {
	Enabled bool   `json:"enabled"`
	Gateway bool   `json:"gateway"`
	User    string `json:"user,omitempty"`
	Token   string `json:"token,omitempty"`
	Error   string `json:"error,omitempty"`
}

// order is the body of an action.
type order struct {
	User     string  `json:"user"`
	Password string  `json:"password"`
	Action   string  `json:"action"` // kill, pause or resume
	Node     string  `json:"node"`
	Field    string  `json:"field"`
	Key      string  `json:"key"`
	Count    int     `json:"count"`
	ID       int64   `json:"id"` // of the one connection to kill
	Addr     string  `json:"addr"`
	Seconds  float64 `json:"seconds"`
}

// outcome is the reply to an action.
type outcome struct {
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
}

const (
	bodyMost     = 16 << 10
	actionLimit  = 10 * time.Minute
	pauseLongest = time.Hour
)

func (a *Actions) register(mux *http.ServeMux) {
	foreign := http.NewCrossOriginProtection()
	post := func(path string, fn func(http.ResponseWriter, *http.Request, *order)) {
		mux.HandleFunc("POST "+path, func(rw http.ResponseWriter, q *http.Request) {
			secure(rw)
			var o order
			switch {
			case !a.Enabled():
				fail(rw, http.StatusForbidden, "actions are off: they need the key actions and a user of the configuration")
			case foreign.Check(q) != nil || q.Header.Get("Content-Type") != "application/json":
				fail(rw, http.StatusForbidden, "the request is not from the page")
			case json.NewDecoder(http.MaxBytesReader(rw, q.Body, bodyMost)).Decode(&o) != nil:
				fail(rw, http.StatusBadRequest, "the body is not an order of the page")
			default:
				fn(rw, q, &o)
			}
		})
	}
	mux.HandleFunc("GET /page/session", a.session)
	post("/page/login", a.login)
	post("/page/logout", a.logout)
	post("/page/act", a.act)
}

func fail(rw http.ResponseWriter, code int, text string) {
	page.WriteJSON(rw, code, outcome{Error: text})
}

// session reports who has logged in.
func (a *Actions) session(rw http.ResponseWriter, q *http.Request) {
	secure(rw)
	r := access{Enabled: a.Enabled(), Gateway: a.Pause != nil}
	if one, ok := a.user(q); ok && r.Enabled {
		r.User, r.Token = one.user, one.token
	}
	page.WriteJSON(rw, http.StatusOK, r)
}

func (a *Actions) login(rw http.ResponseWriter, q *http.Request, o *order) {
	host := hostOf(q)
	if !a.sessions.mayTry(host, time.Now()) {
		rw.Header().Set("Retry-After", "60")
		fail(rw, http.StatusTooManyRequests, "too many attempts: wait a minute")
		return
	}
	if !a.Login(o.User, o.Password) {
		name := "not an operator" // people type passwords into the wrong field
		if a.Allowed(o.User) != "" {
			name = o.User
		}
		a.Log.Warn("page: login refused", "user", name, "from", host)
		fail(rw, http.StatusUnauthorized, "wrong user or password, or the user may not act")
		return
	}
	a.sessions.succeeded(host)
	a.sessions.end(q)
	cookie, one := a.sessions.add(o.User, a.Allowed(o.User), time.Now())
	setCookie(rw, q, cookie)
	a.Log.Info("page: login", "user", o.User, "from", host)
	page.WriteJSON(rw, http.StatusOK, access{Enabled: true, Gateway: a.Pause != nil, User: one.user, Token: one.token})
}

// user returns the session of a request, if its user may still act with the password of the login.
func (a *Actions) user(q *http.Request) (session, bool) {
	one, ok := a.sessions.of(q, time.Now())
	if now := a.Allowed(one.user); !ok || now == "" || now != one.proof {
		return session{}, false
	}
	return one, true
}

func (a *Actions) logout(rw http.ResponseWriter, q *http.Request, _ *order) {
	if one, ok := a.sessions.of(q, time.Now()); ok && one.hasToken(q) {
		a.sessions.end(q)
	}
	setCookie(rw, q, "")
	page.WriteJSON(rw, http.StatusOK, outcome{Text: "logged out"})
}

func (a *Actions) act(rw http.ResponseWriter, q *http.Request, o *order) {
	one, ok := a.user(q)
	switch {
	case !ok:
		fail(rw, http.StatusUnauthorized, "log in first")
		return
	case !one.hasToken(q):
		fail(rw, http.StatusForbidden, "the token is missing or wrong: load the page again")
		return
	}
	a.Log.Warn("page: action", "action", output.Printable(o.Action), "user", one.user, "from", hostOf(q), "node", output.Printable(o.Node), "by", output.Printable(o.Field), "key", output.Printable(o.Key), "id", o.ID, "addr", output.Printable(o.Addr), "seconds", o.Seconds)
	d := time.Duration(o.Seconds * float64(time.Second))
	switch {
	case o.Action == "kill" && o.ID > 0 && o.Addr != "" && o.Key == "":
		a.kill(rw, q, Closing{Node: o.Node, ID: o.ID, Addr: o.Addr})
	case o.Action == "kill" && o.Key != "" && o.ID == 0 && o.Addr == "":
		a.kill(rw, q, Closing{Node: o.Node, Field: o.Field, Key: o.Key, Counted: o.Count})
	case o.Action == "pause" && a.Pause != nil && o.Seconds > 0 && o.Seconds <= pauseLongest.Seconds():
		a.Pause(d)
		page.WriteJSON(rw, http.StatusOK, outcome{Text: "paused for " + d.String()})
	case o.Action == "resume" && a.Resume != nil:
		a.Resume()
		page.WriteJSON(rw, http.StatusOK, outcome{Text: "resumed"})
	default:
		fail(rw, http.StatusBadRequest, "unknown action, a kill without a group or a connection, or a pause that is not of 1 s to 1 h")
	}
}

func (a *Actions) kill(rw http.ResponseWriter, q *http.Request, c Closing) {
	control := http.NewResponseController(rw)
	_ = control.SetReadDeadline(time.Time{}) // to notice the end of the tab
	_ = control.SetWriteDeadline(time.Now().Add(actionLimit + time.Minute))
	ctx, cancel := context.WithTimeout(q.Context(), actionLimit)
	defer cancel()
	text, err := a.Kill(ctx, c)
	if a.closed != nil {
		a.closed()
	}
	if err != nil {
		page.WriteJSON(rw, http.StatusBadGateway, outcome{Text: text, Error: output.Error(err)})
		return
	}
	page.WriteJSON(rw, http.StatusOK, outcome{Text: text})
}
