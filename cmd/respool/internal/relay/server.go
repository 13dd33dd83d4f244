package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Held are the connections of a running watch.
type Held struct {
	Options respool.Options            // of the watched servers
	Own     string                     // name of the connections; empty: that of the options
	State   *monitor.State             // for the order of the nodes, and why there are none
	Clients map[string]*respool.Client // by the addresses of the nodes
	Place   string                     // what is watched, in words
	Socket  string                     // the path of the Unix socket; empty: none
}

// Server serves readings.
type Server struct {
	held func() Held
	turn chan struct{} // one reading at a time: CLIENT LIST blocks the server

	mu   sync.Mutex
	last map[string]*monitor.Reading // by node, and with clients or without
}

// NewServer returns a server of the connections that held returns.
func NewServer(held func() Held) *Server {
	return &Server{held: held, turn: make(chan struct{}, 1), last: map[string]*monitor.Reading{}}
}

const (
	// freshFor is the time for which requests to the pages share a reading, so that they cause at most one CLIENT LIST a second.
	freshFor = time.Second
	// readLimit limits the reading of one server.
	readLimit = 5 * time.Second
)

// Pages adds the pages that only read.
func (s *Server) Pages(mux *http.ServeMux) {
	mux.HandleFunc("GET "+pageConnections, s.connections(freshFor))
}

// SocketPages returns the pages of the Unix socket: those of others, readings of this moment, and the pages that close connections.
func (s *Server) SocketPages(others http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", others)
	mux.HandleFunc("GET "+pageConnections, s.connections(0)) // kill lists the connections of this moment
	mux.HandleFunc("GET "+pageClient, s.client)
	mux.HandleFunc("POST "+pageKill, s.kill)
	return mux
}

// Serve serves the pages of the Unix socket at a listener until the returned server is closed.
func (s *Server) Serve(l net.Listener, others http.Handler) *http.Server {
	srv := &http.Server{Handler: s.SocketPages(others), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go func() { _ = srv.Serve(l) }()
	return srv
}

// connections serves readings that are at most age old.
func (s *Server) connections(age time.Duration) http.HandlerFunc {
	return func(rw http.ResponseWriter, q *http.Request) { s.writeConnections(rw, q, age) }
}

func (s *Server) writeConnections(rw http.ResponseWriter, q *http.Request, age time.Duration) {
	h := s.held()
	r := Connections{Service: h.State.Service, Place: h.Place, Cluster: h.Options.Cluster != nil, Socket: h.Socket, Nodes: []monitor.Reading{}}
	want := monitor.ReadConfig{User: h.Options.Username, Own: h.Own, Cluster: h.Options.Cluster != nil,
		Clients: q.FormValue("clients") != "no", Load: q.FormValue("load") == "yes"}
	node := q.FormValue("node")
	for i := range h.State.Nodes {
		if n := &h.State.Nodes[i]; node == "" || node == n.Addr {
			r.Nodes = append(r.Nodes, s.reading(q.Context(), &h, n, want, age))
		}
	}
	switch {
	case len(r.Nodes) > 0:
		write(rw, http.StatusOK, r)
	case node != "":
		write(rw, http.StatusNotFound, failure{fmt.Sprintf("%.80q is not among the watched nodes", node)})
	case h.State.Err != nil:
		write(rw, http.StatusServiceUnavailable, failure{output.Error(h.State.Err)})
	default:
		write(rw, http.StatusServiceUnavailable, failure{"no node was found yet"})
	}
}

// Reading lists the connections of a node. Requests share a reading for a second, so that they cause at most one CLIENT LIST a
// second.
func (s *Server) Reading(ctx context.Context, node string) (*monitor.Reading, error) {
	h := s.held()
	n := h.State.Node(node)
	if n == nil {
		return nil, fmt.Errorf("%.80q is not among the watched nodes", node)
	}
	r := s.reading(ctx, &h, n, monitor.ReadConfig{User: h.Options.Username, Own: h.Own, Clients: true}, freshFor)
	return &r, nil
}

// reading returns a reading of a node that is at most age old.
func (s *Server) reading(ctx context.Context, h *Held, n *monitor.NodeState, want monitor.ReadConfig, age time.Duration) monitor.Reading {
	fail := func(err error) monitor.Reading {
		return monitor.Reading{Addr: n.Addr, At: time.Now(), Error: output.Error(err), Full: monitor.IsFull(err)}
	}
	c := h.Clients[n.Addr]
	if c == nil {
		return fail(cmp.Or(n.Err, errors.New("there is no connection to it")))
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fail(ctx.Err())
	}
	key := fmt.Sprint(n.Addr, " ", want.Clients, " ", want.Load)
	s.mu.Lock()
	last := s.last[key]
	s.mu.Unlock()
	if last != nil && time.Since(last.At) < age {
		return *last
	}
	r, err := monitor.Read(ctx, c, want)
	if err != nil {
		return fail(err)
	}
	if n.Last != nil {
		r.AddGateway(n.Last.Info)
	}
	r.Addr, r.Own = n.Addr, cmp.Or(h.Own, h.Options.ClientName)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.last, func(_ string, r *monitor.Reading) bool { return time.Since(r.At) >= freshFor }) // nodes may have left
	s.last[key] = r
	return *r
}

// Forget drops the readings that requests share, because connections were closed.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.last)
}

// client returns the line of CLIENT LIST of one connection, as text.
func (s *Server) client(rw http.ResponseWriter, q *http.Request) {
	c, id, ok := s.target(rw, q)
	if !ok {
		return
	}
	text, err := c.Do(pool.Observe(q.Context()), "CLIENT", "LIST", "ID", id).Text()
	if err != nil {
		write(rw, http.StatusBadGateway, failure{output.Error(err)})
		return
	}
	write(rw, http.StatusOK, Line{text})
}

// kill closes one connection.
func (s *Server) kill(rw http.ResponseWriter, q *http.Request) {
	c, id, ok := s.target(rw, q)
	if !ok {
		return
	}
	n, err := KillClient(q.Context(), c, id)
	if err != nil {
		write(rw, http.StatusBadGateway, failure{output.Error(err)})
		return
	}
	write(rw, http.StatusOK, Killed{n})
}

func (s *Server) target(rw http.ResponseWriter, q *http.Request) (*respool.Client, int64, bool) {
	node := q.FormValue("node")
	id, err := strconv.ParseInt(q.FormValue("id"), 10, 64)
	c := s.held().Clients[node]
	switch {
	case err != nil:
		write(rw, http.StatusBadRequest, failure{"id is not a number"})
	case c == nil:
		write(rw, http.StatusNotFound, failure{fmt.Sprintf("%.80q is not among the watched nodes", node)})
	default:
		return c, id, true
	}
	return nil, 0, false
}

// KillClient closes a connection by its id, and returns how many were closed: 0 if it was closed before.
func KillClient(ctx context.Context, c *respool.Client, id int64) (int64, error) {
	n, err := c.Do(pool.Observe(ctx), "CLIENT", "KILL", "ID", id).Int64()
	se, ok := errors.AsType[*respool.ServerError](err)
	switch {
	case ok && strings.Contains(se.Message, "No such client"):
		return 0, nil
	case ok && se.Code == "NOPERM":
		return 0, errNoRight
	}
	return n, err
}

// errNoRight reports that the user of the connection may not close others.
var errNoRight = errors.New("the server refuses CLIENT KILL (NOPERM): grant the right +client|kill")

func write(rw http.ResponseWriter, code int, body any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	rw.WriteHeader(code)
	_ = json.NewEncoder(rw).Encode(output.Versioned{Object: body}) // the client may have disconnected
}

// Schemes are the URL schemes of a running watch or serve: the address of its pages, and its Unix socket.
var Schemes = []string{"http", "https", "http+unix"}

// IsURL reports whether a URL leads to a running watch or serve.
func IsURL(url string) bool {
	scheme, _, ok := strings.Cut(url, "://")
	return ok && slices.Contains(Schemes, scheme)
}
