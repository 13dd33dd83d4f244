//go:build unix

package redistest

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// SentinelConfig configures a set. The zero value is a primary with two replicas and three sentinels.
type SentinelConfig struct {
	Name             string        // of the service; default mymaster
	Replicas         int           // default 2; negative: none
	Sentinels        int           // default 3
	DownAfter        time.Duration // default 1 s
	Slow             bool          // keep the default periods of the sentinels, instead of short ones
	Password         string        // of the data nodes
	SentinelPassword string
	TLS              bool // on nodes and sentinels; sentinels report the TLS ports
	Hostnames        bool // nodes and sentinels are known as localhost
	Args             []string

	// Via, if set, returns the address that a data node announces, such as the address of a relay.
	Via func(addr string) string
}

// SentinelSet is a service and its sentinels. Its methods are not safe for concurrent use.
type SentinelSet struct {
	Nodes     []*Server
	Sentinels []*Server

	t    testing.TB
	cfg  SentinelConfig
	host string
}

// setLimit limits the wait until a set can fail over.
const setLimit = 60 * time.Second

// StartSentinels starts a set and returns when the set can fail over.
func StartSentinels(t testing.TB, cfg SentinelConfig) *SentinelSet {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "mymaster"
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = 2
	}
	if cfg.Sentinels == 0 {
		cfg.Sentinels = 3
	}
	if cfg.DownAfter == 0 {
		cfg.DownAfter = time.Second
	}
	set := &SentinelSet{t: t, cfg: cfg, host: "127.0.0.1"}
	if cfg.Hostnames {
		set.host = "localhost"
	}
	var certs certificates
	if cfg.TLS {
		certs = makeCertificates(t, t.TempDir(), nil, nil)
	}
	for range 1 + max(0, cfg.Replicas) {
		set.startNode(certs)
	}
	for range cfg.Sentinels {
		set.startSentinel(certs)
	}
	set.WaitHealthy(t, setLimit)
	return set
}

func (set *SentinelSet) startNode(certs certificates) {
	set.t.Helper()
	cfg := Config{Password: set.cfg.Password, TLS: set.cfg.TLS, Peers: set.servers}
	cfg.Args = append([]string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--repl-timeout", "10"}, set.cfg.Args...)
	if set.cfg.Password != "" {
		cfg.Args = append(cfg.Args, "--masterauth", set.cfg.Password)
	}
	if set.cfg.TLS {
		cfg.Args = append(cfg.Args, "--tls-replication", "yes")
	}
	if set.cfg.Hostnames {
		cfg.Args = append(cfg.Args, "--replica-announce-ip", set.host)
	}
	if len(set.Nodes) > 0 {
		cfg.Args = append(cfg.Args, "--replicaof", set.host, strconv.Itoa(set.Nodes[0].announcedPort()))
	}
	s := &Server{t: set.t, cfg: cfg, dir: set.t.TempDir(), certs: certs}
	if set.cfg.Via != nil {
		s.configure = func() {
			_, port, _ := strings.Cut(set.cfg.Via(s.Addr()), ":")
			s.announced, _ = strconv.Atoi(port)
		}
	}
	s.launch()
	set.Nodes = append(set.Nodes, s)
}

// announcedPort is the port that clients use.
func (s *Server) announcedPort() int {
	if s.announced != 0 {
		return s.announced
	}
	if s.tls != 0 {
		return s.tls
	}
	return s.port
}

func (set *SentinelSet) startSentinel(certs certificates) {
	set.t.Helper()
	s := &Server{t: set.t, cfg: Config{Password: set.cfg.SentinelPassword, TLS: set.cfg.TLS, Peers: set.servers}, dir: set.t.TempDir(), certs: certs}
	s.sentinel = filepath.Join(s.dir, "sentinel.conf")
	s.configure = func() {
		if err := os.WriteFile(s.sentinel, []byte(set.sentinelConfig(s)), 0o600); err != nil {
			set.t.Fatal(err)
		}
	}
	if !set.cfg.Slow {
		s.started = func() { hurry(s) }
	}
	s.launch()
	set.Sentinels = append(set.Sentinels, s)
}

func (set *SentinelSet) sentinelConfig(s *Server) string {
	name, primary := set.cfg.Name, set.Nodes[0]
	lines := []string{
		fmt.Sprintf("port %d", s.port), "bind 127.0.0.1", "dir " + s.dir, "logfile " + filepath.Join(s.dir, "log"),
	}
	if set.cfg.Hostnames {
		lines = append(lines, "sentinel resolve-hostnames yes", "sentinel announce-hostnames yes", "sentinel announce-ip "+set.host)
	}
	if set.cfg.SentinelPassword != "" {
		lines = append(lines, "requirepass "+set.cfg.SentinelPassword, "sentinel sentinel-pass "+set.cfg.SentinelPassword)
	}
	if set.cfg.TLS {
		lines = append(lines, fmt.Sprintf("tls-port %d", s.tls), "tls-auth-clients no", "tls-replication yes",
			"tls-ca-cert-file "+s.certs.ca, "tls-cert-file "+s.certs.cert, "tls-key-file "+s.certs.key)
	}
	lines = append(lines,
		fmt.Sprintf("sentinel monitor %s %s %d %d", name, set.host, primary.announcedPort(), set.cfg.Sentinels/2+1),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", name, set.cfg.DownAfter.Milliseconds()),
		fmt.Sprintf("sentinel failover-timeout %s 6000", name))
	if set.cfg.Password != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", name, set.cfg.Password))
	}
	return strings.Join(lines, "\n") + "\n"
}

// hurry shortens the periods of a sentinel. To be promoted, a replica must have replied within five
// ping periods, and while the primary is down, the sentinel queries it once a second.
func hurry(s *Server) {
	if !s.version.Since(7, 0) {
		return // the periods are fixed
	}
	_, err := s.TryDo("SENTINEL", "DEBUG", "info-period", "300", "ping-period", "400", "publish-period", "300", "ask-period", "100",
		"election-timeout", "2000", "slave-reconf-timeout", "2000", "min-link-reconnect-period", "300")
	if err != nil {
		s.t.Errorf("shorten a sentinel's periods: %v", err)
	}
}

// servers are the nodes and the sentinels.
func (set *SentinelSet) servers() []*Server { return slices.Concat(set.Nodes, set.Sentinels) }

// Name is the name of the service.
func (set *SentinelSet) Name() string { return set.cfg.Name }

// SentinelAddrs are the addresses of the sentinels.
func (set *SentinelSet) SentinelAddrs() []string {
	var addrs []string
	for _, s := range set.Sentinels {
		addrs = append(addrs, set.AddrOf(s))
	}
	return addrs
}

// AddrOf is the address that a node or sentinel announces.
func (set *SentinelSet) AddrOf(s *Server) string {
	return set.host + ":" + strconv.Itoa(s.announcedPort())
}

// URL is the URL of the service for a client, with the passwords and the CA. Each of keys is key=value.
func (set *SentinelSet) URL(keys ...string) string {
	u := url.URL{Scheme: "redis+sentinel", Host: strings.Join(set.SentinelAddrs(), ","), Path: "/" + set.cfg.Name}
	if set.cfg.Password != "" {
		u.User = url.UserPassword("", set.cfg.Password)
	}
	query := url.Values{}
	if set.cfg.SentinelPassword != "" {
		query.Set("sentinel_password", set.cfg.SentinelPassword)
	}
	if set.cfg.TLS {
		u.Scheme = "rediss+sentinel"
		query.Set("ssl_ca_certs", set.Nodes[0].certs.ca)
	}
	for _, pair := range keys {
		key, value, _ := strings.Cut(pair, "=")
		query.Set(key, value)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// NodeAt returns the node that announces addr, or nil.
func (set *SentinelSet) NodeAt(addr string) *Server {
	for _, s := range set.Nodes {
		if set.AddrOf(s) == addr {
			return s
		}
	}
	return nil
}

// agreed returns the primary according to all running sentinels, or nil.
func (set *SentinelSet) agreed() *Server {
	var found *Server
	for _, s := range set.Sentinels {
		if !s.Running() {
			continue
		}
		text, err := s.TryDo("SENTINEL", "GET-MASTER-ADDR-BY-NAME", set.cfg.Name)
		host, port, _ := strings.Cut(text, "\n")
		node := set.NodeAt(host + ":" + port)
		if err != nil || node == nil || found != nil && node != found {
			return nil
		}
		found = node
	}
	return found
}

// WaitPrimary waits until all running sentinels agree on a primary other than not. not may be nil.
func (set *SentinelSet) WaitPrimary(t testing.TB, not *Server, within time.Duration) *Server {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		if node := set.agreed(); node != nil && node != not {
			return node
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sentinels agree on no new primary within %v", within)
		}
	}
}

// Primary returns the primary according to all running sentinels.
func (set *SentinelSet) Primary() *Server {
	set.t.Helper()
	return set.WaitPrimary(set.t, nil, setLimit)
}

// Replicas returns the running nodes except the primary.
func (set *SentinelSet) Replicas() []*Server {
	set.t.Helper()
	primary := set.Primary()
	return slices.DeleteFunc(slices.Clone(set.Nodes), func(s *Server) bool { return s == primary || !s.Running() })
}

// WaitHealthy waits until the set can fail over: one running node is the primary, all others replicate
// it, and every running sentinel reports all of them as healthy.
func (set *SentinelSet) WaitHealthy(t testing.TB, within time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		problem := set.problem()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the set cannot fail over within %v: %s", within, problem)
		}
	}
}

// problem returns why the set cannot fail over, or an empty string.
func (set *SentinelSet) problem() string {
	primary := set.agreed()
	if primary == nil {
		return "the sentinels do not agree on a primary"
	}
	replicas, sentinels := 0, 0
	for _, s := range set.Nodes {
		if !s.Running() {
			continue
		}
		role, err := s.TryDo("ROLE")
		lines := strings.Split(role, "\n")
		switch {
		case err != nil:
			return fmt.Sprintf("%s: %v", set.AddrOf(s), err)
		case s == primary && lines[0] != "master":
			return set.AddrOf(s) + " is not a primary"
		case s == primary:
		case len(lines) < 4 || lines[0] != "slave" || lines[1]+":"+lines[2] != set.AddrOf(primary) || lines[3] != "connected":
			return set.AddrOf(s) + " does not replicate the primary: " + strings.Join(lines, " ")
		default:
			replicas++
		}
	}
	for _, s := range set.Sentinels {
		if s.Running() {
			sentinels++
		}
	}
	for _, s := range set.Sentinels {
		if !s.Running() {
			continue
		}
		if problem := set.known(s, replicas, sentinels-1); problem != "" {
			return set.AddrOf(s) + " " + problem
		}
	}
	return ""
}

// known returns how the view of a sentinel differs from the set, or an empty string.
func (set *SentinelSet) known(s *Server, replicas, others int) string {
	primary, err := s.TryDo("SENTINEL", "MASTER", set.cfg.Name)
	if err != nil || strings.Contains(primary, "_down") || strings.Contains(primary, "failover_in_progress") {
		return fmt.Sprintf("does not report a healthy primary (%v)", err)
	}
	list, err := s.TryDo("SENTINEL", "REPLICAS", set.cfg.Name)
	well := 0
	for _, one := range strings.Split(list, "name\n")[1:] {
		if strings.Contains(one, "\nflags\nslave\n") && strings.Contains(one, "master-link-status\nok") && !strings.Contains(one, "slave-repl-offset\n0\n") {
			well++
		}
	}
	if err != nil || well != replicas {
		return fmt.Sprintf("reports %d healthy replicas of %d (%v)", well, replicas, err)
	}
	list, err = s.TryDo("SENTINEL", "SENTINELS", set.cfg.Name)
	if n := strings.Count(list, "\nflags\nsentinel\n"); err != nil || n < others {
		return fmt.Sprintf("reports %d other sentinels of %d (%v)", n, others, err)
	}
	return ""
}

// Failover starts a failover on a sentinel and returns the old primary. It does not wait for the end
// of the failover.
func (set *SentinelSet) Failover() *Server {
	set.t.Helper()
	old := set.Primary()
	for deadline := time.Now().Add(setLimit); ; time.Sleep(20 * time.Millisecond) {
		var last error
		for _, s := range set.Sentinels {
			if !s.Running() {
				continue
			}
			if _, last = s.TryDo("SENTINEL", "FAILOVER", set.cfg.Name); last == nil {
				return old
			}
		}
		if time.Now().After(deadline) {
			set.t.Fatalf("no sentinel starts a failover: %v", last)
		}
	}
}
