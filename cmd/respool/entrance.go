package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
)

// entrance is one place at which a gateway listens, as it was configured.
type entrance struct {
	name    string // host:port, unix:///path, or systemd:name; no two have the same
	where   string // how errors call it
	network string // tcp, unix, or systemd as long as it is not known what that passed
	addr    string
	mode    fs.FileMode // of a unix socket
	files   tlsFiles
	certs   *certfile.Source // the content of the files; nil: none
	passed  net.Listener     // by systemd; nil: it is to be opened
}

// tlsFiles are the files of one listener, each in PEM.
type tlsFiles struct{ cert, key, ca string }

// defaultMode lets nobody in but the same user.
const defaultMode fs.FileMode = 0o600

const (
	wantMode     = "the mode of the socket in octal, such as 0660"
	wantEntrance = "host:port such as " + defaultEntrance + ", unix:///path?mode=0660, or systemd:NAME"
	fromSystemd  = "systemd:"
)

func theDefault() entrance {
	return entrance{name: defaultEntrance, where: "--listen " + defaultEntrance, network: "tcp", addr: defaultEntrance}
}

// parseEntrance reads an address. Its errors say what is wanted.
func parseEntrance(text string) (entrance, error) {
	e := entrance{name: text, addr: text, network: "tcp"}
	switch {
	case strings.HasPrefix(text, fromSystemd):
		if e.network = "systemd"; text == fromSystemd {
			return e, errors.New(wantEntrance)
		}
		return e, nil
	case !strings.HasPrefix(text, "unix:"):
		if checkListen(text) != nil {
			return e, errors.New(wantEntrance)
		}
		return e, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host != "" || len(u.Path) < 2 || u.Path[0] != '/' || u.Fragment != "" || u.User != nil {
		return e, errors.New(wantEntrance)
	}
	e.name, e.network, e.addr, e.mode = "unix://"+u.Path, "unix", u.Path, defaultMode
	for key, values := range u.Query() {
		mode, err := parseMode(values[0])
		if key != "mode" || len(values) > 1 || err != nil {
			return e, errors.New("unix:///path, with no key but mode: " + wantMode)
		}
		e.mode = mode
	}
	return e, nil
}

func parseMode(text string) (fs.FileMode, error) {
	bits, err := strconv.ParseUint(text, 8, 32)
	if err == nil && (len(text) < 3 || len(text) > 4 || bits > 0o777) {
		err = strconv.ErrRange
	}
	return fs.FileMode(bits), err
}

func withEntrance(list []entrance, e entrance) ([]entrance, error) {
	if slices.ContainsFunc(list, func(other entrance) bool { return other.name == e.name }) {
		return list, fmt.Errorf("%s: the same address twice: want it once", e.where)
	}
	return append(list, e), nil
}

// loadTLS reads the files.
func (e *entrance) loadTLS() error {
	if e.files == (tlsFiles{}) {
		return nil
	}
	source, err := certfile.Open(certfile.Files{CA: e.files.ca, Cert: e.files.cert, Key: e.files.key})
	if err != nil {
		return fmt.Errorf("%s: %w", e.where, err)
	}
	e.certs = source
	return nil
}

// tlsConfig is for the next handshake, with the files as they are now; nil: no
// TLS. changed and err are those of certfile.Source.
func tlsConfig(certs *certfile.Source) (cfg *tls.Config, changed bool, err error) {
	if certs == nil {
		return nil, false, nil
	}
	content, changed, err := certs.Content()
	cfg = &tls.Config{Certificates: []tls.Certificate{*content.Pair}, MinVersion: tls.VersionTLS12}
	if content.CAs != nil {
		cfg.ClientCAs, cfg.ClientAuth = content.CAs, tls.RequireAndVerifyClientCert
	}
	return cfg, changed, err
}

// expired reports whether its certificate is over.
func (e *entrance) expired() bool {
	cfg, _, _ := tlsConfig(e.certs) // read a moment ago
	return cfg != nil && cfg.Certificates[0].Leaf.NotAfter.Before(time.Now())
}

// text names it for people.
func (e *entrance) text() string {
	text := e.name
	if e.passed != nil {
		text = e.addr + " (from systemd)"
	}
	switch {
	case e.network == "unix" && e.passed == nil:
		text += fmt.Sprintf(" (mode %04o)", e.mode)
	case e.files.ca != "":
		text += " with TLS, for clients with a certificate"
	case e.files.cert != "":
		text += " with TLS"
	}
	return text
}

// local reports whether nobody beyond this machine reaches it. What systemd
// will pass is not known while a configuration is only checked.
func (e *entrance) local() bool {
	if e.network != "tcp" {
		return true
	}
	host, _, err := net.SplitHostPort(e.addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// risk tells what is wrong with an entrance that is allowed; empty: nothing.
func (s *serveSettings) risk(e *entrance) string {
	switch {
	case e.expired():
		return "the certificate has expired, and clients refuse it: " + e.files.cert
	case e.local() || e.files.ca != "":
	case s.gateway.Users == nil && !s.gateway.NeedAuth:
		return "everybody who reaches this address may use the server: --insecure"
	case e.files.cert == "":
		return "passwords cross the network in the clear: there is no TLS"
	}
	return ""
}

// checkSafe wants an entrance that others reach to be one that not everybody
// gets through.
func (s *serveSettings) checkSafe() error {
	open := slices.IndexFunc(s.entrances, func(e entrance) bool { return !e.local() && e.files.ca == "" })
	if open < 0 || s.gateway.PassThrough && s.gateway.NeedAuth {
		return nil
	}
	why := "everybody who reaches it could use the server"
	for _, name := range slices.Sorted(maps.Keys(s.gateway.Users)) {
		if u := s.gateway.Users[name]; !u.Disabled && len(u.Passwords) == 0 {
			return fmt.Errorf("%s: %s as user %s: want a password_sha256 for that user, client certificates (tls with client_ca, or --tls-ca), a loopback address, or --insecure",
				s.entrances[open].where, why, name)
		}
	}
	if s.gateway.Users != nil {
		return nil
	}
	return fmt.Errorf("%s: %s: want users with passwords, pass_through with need_auth, client certificates (tls with client_ca, or --tls-ca), a loopback address, or --insecure",
		s.entrances[open].where, why)
}
