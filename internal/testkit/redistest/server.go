//go:build unix

package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
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
)

// Config says what kind of server to start. The zero value is a plain one.
type Config struct {
	Password      string   // requirepass
	Users         []string // ACL rules: "user alice on >secret ~* +@all"; "user" may be left out
	TLS           bool     // TLS on Addr, with a CA made for the test; PlainAddr stays plain
	TLSClientAuth bool     // clients need a certificate
	Unix          bool     // a unix socket as well
	MaxClients    int
	AppendOnly    bool     // appendonly yes, appendfsync always
	Args          []string // further arguments: "--key", "value"
	Port          int      // of Addr; 0: a free one
}

// Server is a running redis-server. Its methods are for the test's goroutines;
// those that control the process are not safe for concurrent use.
type Server struct {
	t       testing.TB
	version Version
	cfg     Config
	dir     string
	port    int
	tls     int // 0: none
	socket  string
	certs   certificates
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone

	pid                    atomic.Int64 // of cmd, for those on other goroutines
	dialsBegun, dialsEnded atomic.Int64 // of this package
	mu                     sync.Mutex
	control                *client              // nil: not connected
	unnamed                map[string]time.Time // since when connections without a name are seen by outsiders

	sentinel  string       // the configuration file of a sentinel; empty: a data node
	configure func()       // writes it, once the ports are chosen
	started   func()       // called when the process answers, each time
	announced int          // the port that the server announces; 0: its own
	set       *SentinelSet // that it belongs to; nil: none
}

// startLimit bounds the wait for a server to answer.
const startLimit = 20 * time.Second

// Start starts a server and returns when it answers.
func Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	s := &Server{t: t, cfg: cfg, dir: t.TempDir()}
	if cfg.Unix {
		dir, err := os.MkdirTemp("", "rt") // t.TempDir is too long for a socket's path
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		s.socket = filepath.Join(dir, "s")
	}
	if cfg.TLSClientAuth {
		s.cfg.TLS = true
	}
	if s.cfg.TLS {
		s.certs = makeCertificates(t, s.dir)
	}
	s.launch()
	return s
}

// launch starts the process, on other ports if those chosen are taken meanwhile.
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
	s.port = s.cfg.Port
	if s.cfg.TLS {
		s.tls, s.port = s.cfg.Port, 0
		if s.tls == 0 {
			s.tls = freePort(s.t)
		}
	}
	if s.port == 0 {
		s.port = freePort(s.t)
	}
}

// freePort looks below the ports that outgoing connections take, so that none
// of them holds the port while the server is down for a Restart.
func freePort(t testing.TB) int {
	t.Helper()
	const first, count, attempts = 10000, 22000, 1000
	for range attempts {
		port := first + rand.IntN(count)
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func (s *Server) arguments() []string {
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "",
		"--logfile", filepath.Join(s.dir, "log")}
	if s.version.Since(7, 0) { // DEBUG is always allowed before
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
	return append(args, s.cfg.Args...)
}

// run starts the process and waits until it is the one that answers: another
// may have taken the port first.
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
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() { _ = cmd.Wait(); close(ended) }()
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

// PlainAddr is the address without TLS.
func (s *Server) PlainAddr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// Socket is the path of the unix socket, or empty.
func (s *Server) Socket() string { return s.socket }

// URL names the server as clients are configured, password and CA included.
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

// Version is that of the program.
func (s *Server) Version() Version { return s.version }

// Has reports whether the server knows a command, or a subcommand that came with 7.0 or later: client|no-evict.
func (s *Server) Has(command string) bool {
	s.t.Helper()
	return s.Do("COMMAND", "INFO", command) != ""
}

// PID is the process's id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the process as kill -9 does and waits until it is gone. It need not
// run any more.
func (s *Server) Kill() { s.signalAndWait(syscall.SIGKILL) }

// Stop ends the process with SIGTERM, paused or not, and waits until it is gone.
func (s *Server) Stop() { s.signalAndWait(syscall.SIGTERM) }

func (s *Server) signalAndWait(sig syscall.Signal) {
	s.signal(sig)
	s.signal(syscall.SIGCONT) // SIGTERM waits for it in a paused process
	<-s.ended
}

// Restart starts the ended process again, on its port and its data, and waits
// until it answers.
func (s *Server) Restart() {
	if err := s.run(); err != nil {
		s.t.Errorf("restart redis-server: %v", err)
	}
}

// Pause stops the process where it stands; its kernel still takes connections
// and bytes. Resume lets it go on.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("signal redis-server: %v", err)
	}
}
