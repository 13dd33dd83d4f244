//go:build unix

package redistest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// Config configures a server. The zero value is a server without a password and TLS.
type Config struct {
	Password      string   // requirepass
	Users         []string // ACL rules: "user alice on >secret ~* +@all"; "user" is optional
	TLS           bool     // TLS on Addr, with a CA made for the test; PlainAddr stays plain
	TLSOnly       bool     // TLS without a plain port
	TLSClientAuth bool     // clients must have a certificate
	Unix          bool     // also listens on a unix socket
	MaxClients    int
	AppendOnly    bool     // appendonly yes, appendfsync always
	Cluster       bool     // cluster mode, with a free port for the bus
	Args          []string // further arguments: "--key", "value"
	Port          int      // of Addr; 0: a free port

	Authority *testkit.Authority // signs the certificate; nil: a new one
	Names     []string           // DNS names of the certificate; default: localhost and 127.0.0.1

	// ArgsFor, if set, returns arguments that depend on the ports. It runs before each start of the
	// process.
	ArgsFor func(s *Server) []string

	// Peers, if set, returns the servers whose connections are not those of clients: see Outsiders.
	Peers func() []*Server

	// Origin, if set, returns the socket of a client whose connection comes through a relay.
	// from is the address of the relay's connection to the server. ok is false for a connection that
	// comes through no relay, or that the relay does not know yet.
	Origin func(from string) (client, relay string, ok bool)
}

// Server is a running redis-server. Its methods are safe for concurrent use, except for
// the methods that control the process.
type Server struct {
	t       testing.TB
	version Version
	cfg     Config
	dir     string
	port    int
	tls     int // 0: none
	bus     int // of the cluster bus; 0: none
	socket  string
	certs   certificates
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended

	pid                    atomic.Int64 // of cmd
	running, paused        atomic.Bool
	dialsBegun, dialsEnded atomic.Int64 // dials of this package
	mu                     sync.Mutex
	control                *client            // nil: not connected
	unnamed                map[string]unnamed // connections without a name, by ID and address

	sentinel  string // the configuration file of a sentinel; empty: a data node
	configure func() // writes the configuration file after the ports are chosen
	started   func() // runs each time that the process replies
	announced int    // the port that the server announces; 0: port
}

// startLimit limits the wait for the first reply of a server.
const startLimit = 20 * time.Second

// Start starts a server and returns when the server replies.
func Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	s := &Server{t: t, cfg: cfg, dir: t.TempDir()}
	if cfg.Unix {
		dir, err := os.MkdirTemp("", "rt") // t.TempDir is too long for the path of a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		s.socket = filepath.Join(dir, "s")
	}
	if cfg.TLSClientAuth || cfg.TLSOnly {
		s.cfg.TLS = true
	}
	if s.cfg.TLS {
		s.certs = makeCertificates(t, s.dir, cfg.Authority, cfg.Names)
	}
	s.launch()
	return s
}

// launch starts the process. It chooses other ports if a port is taken by then.
func (s *Server) launch() {
	s.t.Helper()
	v, err := version()
	if err != nil {
		s.t.Fatalf("start a server: %v", err)
	}
	s.version = v
	for attempt := 1; ; attempt++ {
		s.choosePorts()
		if s.configure != nil {
			s.configure()
		}
		err := s.run()
		if err == nil {
			break
		}
		if attempt == 5 {
			s.t.Fatalf("start %v: %v", s.version, err)
		}
	}
	s.t.Cleanup(s.end)
}

func (s *Server) choosePorts() {
	s.t.Helper()
	port := s.cfg.Port
	switch {
	case s.cfg.Cluster && !s.version.Since(7, 0): // the port of the bus is fixed
		if port == 0 {
			port = testkit.ReservePortPair(s.t, busDistance)
		}
		s.bus = port + busDistance
	case s.cfg.Cluster:
		s.bus = testkit.ReservePort(s.t)
	}
	if port == 0 {
		port = testkit.ReservePort(s.t)
	}
	s.port = port
	if s.cfg.TLS {
		s.tls, s.port = port, 0
	}
	if s.cfg.TLS && !s.cfg.TLSOnly {
		s.port = testkit.ReservePort(s.t)
	}
}

// busDistance is the distance from the port of a server to the port of its cluster bus, before 7.0.
const busDistance = 10000

func (s *Server) arguments() []string {
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "",
		"--logfile", filepath.Join(s.dir, "log")}
	if s.version.Since(7, 0) { // earlier versions always allow DEBUG
		args = append(args, "--enable-debug-command", "yes")
	}
	if s.cfg.Password != "" {
		args = append(args, "--requirepass", s.cfg.Password)
	}
	for _, u := range s.cfg.Users {
		args = append(append(args, "--user"), strings.Fields(strings.TrimPrefix(u, "user "))...)
	}
	if s.cfg.TLS {
		auth := "no"
		if s.cfg.TLSClientAuth {
			auth = "yes"
		}
		args = append(args, "--tls-port", strconv.Itoa(s.tls), "--tls-auth-clients", auth,
			"--tls-ca-cert-file", s.certs.ca, "--tls-cert-file", s.certs.cert, "--tls-key-file", s.certs.key)
	}
	if s.cfg.Cluster {
		args = append(args, "--cluster-enabled", "yes")
	}
	if s.cfg.Cluster && s.version.Since(7, 0) {
		args = append(args, "--cluster-port", strconv.Itoa(s.bus))
	}
	if s.announced != 0 {
		args = append(args, "--replica-announce-port", strconv.Itoa(s.announced))
	}
	if s.socket != "" {
		args = append(args, "--unixsocket", s.socket)
	}
	if s.cfg.MaxClients > 0 {
		args = append(args, "--maxclients", strconv.Itoa(s.cfg.MaxClients))
	}
	if s.cfg.AppendOnly {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	if s.cfg.ArgsFor != nil {
		args = append(args, s.cfg.ArgsFor(s)...)
	}
	return append(args, s.cfg.Args...)
}

// run starts the process and waits for its reply. It checks the process ID, since another process may
// have taken the port.
func (s *Server) run() error {
	args := s.arguments()
	if s.sentinel != "" {
		args = []string{s.sentinel, "--sentinel"}
	}
	path, err := program()
	if err != nil {
		return err
	}
	s.cmd = exec.Command(path, args...)
	s.cmd.SysProcAttr = dieWithParent()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.pid.Store(int64(s.cmd.Process.Pid))
	s.running.Store(true)
	s.paused.Store(false)
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() { _ = cmd.Wait(); s.running.Store(false); close(ended) }()
	for deadline := time.Now().Add(startLimit); ; {
		err := s.answers()
		if err == nil {
			if s.started != nil {
				s.started()
			}
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("it ended at once: %s", s.logTail())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.Kill()
			return fmt.Errorf("no answer within %v: %w", startLimit, err)
		}
	}
}

func (s *Server) answers() error {
	if _, err := s.TryDo("PING"); err != nil {
		return err
	}
	info, err := s.TryDo("INFO", "server")
	if err != nil {
		return err
	}
	if pid := fields(info)["process_id"]; pid != strconv.Itoa(s.PID()) {
		s.disconnect()
		return fmt.Errorf("process %s answers on the port of process %d", pid, s.PID())
	}
	return nil
}

func (s *Server) logTail() string {
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(log[max(0, len(log)-500):])
}

func (s *Server) end() {
	s.Kill()
	s.disconnect()
}

// disconnect closes the control connection; the next command opens another.
func (s *Server) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.close()
	s.control = nil
}

// Addr is where clients connect: 127.0.0.1 and the port, TLS's if there is one.
func (s *Server) Addr() string {
	if s.tls != 0 {
		return "127.0.0.1:" + strconv.Itoa(s.tls)
	}
	return s.PlainAddr()
}

// PlainAddr is the address without TLS. Its port is 0 for TLSOnly.
func (s *Server) PlainAddr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// BusAddr is the address of the cluster bus.
func (s *Server) BusAddr() string { return "127.0.0.1:" + strconv.Itoa(s.bus) }

// Socket is the path of the unix socket, or empty.
func (s *Server) Socket() string { return s.socket }

// URL is the URL of the server for a client, with the password and the CA.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr()}
	if s.cfg.Password != "" {
		u.User = url.UserPassword("", s.cfg.Password)
	}
	query := url.Values{}
	if s.cfg.TLS {
		u.Scheme = "rediss"
		query.Set("ssl_ca_certs", s.certs.ca)
	}
	if s.cfg.TLSClientAuth {
		query.Set("ssl_certfile", s.certs.cert)
		query.Set("ssl_keyfile", s.certs.key)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Version is the version of the program.
func (s *Server) Version() Version { return s.version }

// Has reports whether the server has a command, or a subcommand since 7.0, such as client|no-evict.
func (s *Server) Has(command string) bool {
	s.t.Helper()
	return s.Do("COMMAND", "INFO", command) != ""
}

// PID is the process ID.
func (s *Server) PID() int { return int(s.pid.Load()) }

// Running reports whether the process runs. It may be called on any goroutine, like Responsive.
func (s *Server) Running() bool { return s.running.Load() }

// Responsive reports whether the process runs and is not paused.
func (s *Server) Responsive() bool { return s.Running() && !s.paused.Load() }

// Kill ends the process with SIGKILL and waits until it has ended. The process may have ended before.
func (s *Server) Kill() { s.signalAndWait(syscall.SIGKILL) }

// Stop ends the process with SIGTERM, even if it is paused, and waits until it has ended.
func (s *Server) Stop() { s.signalAndWait(syscall.SIGTERM) }

func (s *Server) signalAndWait(sig syscall.Signal) {
	s.signal(sig)
	s.signal(syscall.SIGCONT) // a paused process does not handle SIGTERM
	<-s.ended
}

// Restart starts the server again after Kill or Stop, with its port and data, and waits until it
// replies.
func (s *Server) Restart() {
	if err := s.run(); err != nil {
		s.t.Errorf("restart redis-server: %v", err)
	}
}

// Pause suspends the process until Resume. Its kernel still accepts connections and bytes.
func (s *Server) Pause() {
	s.paused.Store(true)
	s.signal(syscall.SIGSTOP)
}

// Resume continues the process after Pause.
func (s *Server) Resume() {
	s.signal(syscall.SIGCONT)
	s.paused.Store(false)
}

func (s *Server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("signal redis-server: %v", err)
	}
}
