package live

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// frames are the encoded events of one version for one node.
type frames struct {
	view      []byte
	holders   []byte
	holdersID string // changes with the groups
	missing   bool   // there are other nodes than this one
}

const (
	writeLimit = 10 * time.Second
	tabsOfHost = 4   // streams that stay open for one host: browsers open six connections to a server at most
	tabsMost   = 100 // streams that stay open
	retryLeast = time.Second
	encodedFor = 5 * time.Second // a snapshot contains the age of the data, which grows while a server does not answer
)

// tabs counts the open streams.
type tabs struct {
	mu   sync.Mutex
	open map[string]int // by host
	all  int
}

// enter counts a stream. stays reports whether it may stay open. Other streams end after one snapshot, and their tabs connect
// again for the next one.
func (t *tabs) enter(host string) (leave func(), stays bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[host] >= tabsOfHost || t.all >= tabsMost {
		return func() {}, false
	}
	t.open[host]++
	t.all++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.all--
		if t.open[host]--; t.open[host] == 0 {
			delete(t.open, host)
		}
	}, true
}

func hostOf(q *http.Request) string {
	host, _, err := net.SplitHostPort(q.RemoteAddr)
	if err != nil {
		return q.RemoteAddr
	}
	return host
}

// stream sends the history of a node since a time, and then each snapshot.
func (p *Page) stream(rw http.ResponseWriter, q *http.Request) {
	secure(rw)
	rw.Header().Set("Content-Type", "text/event-stream")
	leave, stays := p.tabs.enter(hostOf(q))
	defer leave()
	every := p.cfg.Source.Every()
	retry := min(every, time.Second)
	if !stays {
		retry = max(every, retryLeast)
	}
	t := tab{rw: rw, control: http.NewResponseController(rw)}
	_ = t.control.SetReadDeadline(time.Time{}) // that of the server is for requests; it would end the stream
	node, since := q.FormValue("node"), int64(0)
	if id := cmp.Or(q.Header.Get("Last-Event-ID"), q.FormValue("since")); id != "" {
		text, before, _ := strings.Cut(id, " ")
		since, _ = strconv.ParseInt(text, 10, 64)
		node = cmp.Or(node, before)
	}
	t.send(fmt.Appendf(nil, "retry: %d\n", retry.Milliseconds()))
	node = p.chosen(node)
	t.send(p.historyEvent(node, since))
	for t.err == nil {
		sent := time.Now()
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		f := p.frames(node)
		if f.missing { // the first node was found, or the node has left
			node, t.holders = p.chosen(""), ""
			t.send(p.historyEvent(node, 0))
			f = p.frames(node)
		}
		if f.holdersID != t.holders {
			t.holders = f.holdersID
			t.send(f.holders)
		}
		t.send(f.view)
		if !stays || t.err != nil {
			return
		}
		select {
		case <-changed:
		case <-q.Context().Done():
			return
		}
		select { // the nodes of a service are read at about the same time
		case <-time.After(time.Until(sent.Add(min(every/4, time.Second)))):
		case <-q.Context().Done():
			return
		}
	}
}

// tab is one stream.
type tab struct {
	rw      http.ResponseWriter
	control *http.ResponseController
	holders string // the groups that it has
	err     error
}

func (t *tab) send(event []byte) {
	if t.err != nil {
		return
	}
	_ = t.control.SetWriteDeadline(time.Now().Add(writeLimit)) // without deadlines a slow tab only holds its own goroutine
	if _, t.err = t.rw.Write(event); t.err == nil {
		t.err = t.control.Flush()
	}
}

// event encodes an event. id, unless it is empty, is where the history continues after a reconnection.
func event(name, id string, body any) []byte {
	raw, err := json.Marshal(body)
	if err != nil { // no value of a view fails
		raw = []byte("null")
	}
	var b []byte
	if id != "" {
		b = fmt.Appendf(b, "id: %s\n", id)
	}
	b = fmt.Appendf(b, "event: %s\ndata: ", name)
	return append(append(b, raw...), "\n\n"...)
}

// historyEvent encodes the points of a node from a time on, in milliseconds, and the marks after it.
func (p *Page) historyEvent(node string, since int64) []byte {
	p.mu.Lock()
	h := historyOf{Node: node, Marks: p.marks.of(node, float64(since)/1000)}
	points := []point{}
	if s := p.history[node]; s != nil {
		points = append(points, s.after(since)...)
	}
	p.mu.Unlock()
	h.Points, _ = json.Marshal(points) // no point fails
	return event("history", "", h)
}

// chosen returns the node that a tab shows: the wanted one, or the one that needs attention most.
func (p *Page) chosen(wanted string) string {
	st := p.cfg.Source.State()
	if wanted != "" && (st.Node(wanted) != nil || wanted == GatewayNode && p.gateway != nil) {
		return wanted
	}
	return p.build(st).worst()
}

// frames returns the events for a node, encoded once for each version.
func (p *Page) frames(node string) frames {
	p.encoding.Lock()
	defer p.encoding.Unlock()
	p.mu.Lock()
	version, newest := p.version, p.newest[node]
	recent := p.marks.of(node, float64(time.Now().Add(-time.Minute).UnixMilli())/1000)
	p.mu.Unlock()
	if version != p.at || time.Since(p.since) >= encodedFor {
		clear(p.encoded)
		p.at, p.since = version, time.Now()
	}
	if f, ok := p.encoded[node]; ok {
		return f
	}
	b := p.build(p.cfg.Source.State())
	v, h := b.view(node), b.holders(node)
	v.Marks = recent
	if newest.at != 0 {
		v.Point = &newest
	}
	f := frames{view: event("view", fmt.Sprint(newest.at, " ", oneLine(node)), v), holders: event("holders", "", h), holdersID: h.id(), missing: b.state(node) == nil && len(b.nodes) > 0}
	p.encoded[node] = f
	return f
}

// oneLine removes the line ends of a text, which would end a field of an event.
func oneLine(text string) string {
	return strings.NewReplacer("\n", "", "\r", "", "\x00", "").Replace(text)
}
