package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
)

// Address is one place at which a gateway listens, as it was configured.
type Address struct {
	Name      string // host:port, unix:///path, or systemd:name; no two have the same
	Origin    string // how errors call it
	Network   string // tcp, unix, or systemd as long as it is not known what that passed
	Addr      string
	Mode      fs.FileMode // of a unix socket
	Files     TLSFiles
	Certs     *certfile.Source // the content of the files; nil: none
	Inherited net.Listener     // by systemd; nil: it is to be opened
}

// TLSFiles are the files of one listener, each in PEM.
type TLSFiles struct{ Cert, Key, ClientCA string }

// defaultSocketMode lets nobody in but the same user.
const defaultSocketMode fs.FileMode = 0o600

const (
	wantMode      = "the mode of the socket in octal, such as 0660"
	wantAddress   = "host:port such as " + DefaultListen + ", unix:///path?mode=0660, or systemd:NAME"
	SystemdPrefix = "systemd:"
)

func DefaultAddress() Address {
	return Address{Name: DefaultListen, Origin: "--listen " + DefaultListen, Network: "tcp", Addr: DefaultListen}
}

// ParseAddress reads an address. Its errors say what is wanted.
func ParseAddress(text string) (Address, error) {
	a := Address{Name: text, Addr: text, Network: "tcp"}
	switch {
	case strings.HasPrefix(text, SystemdPrefix):
		if a.Network = "systemd"; text == SystemdPrefix {
			return a, errors.New(wantAddress)
		}
		return a, nil
	case !strings.HasPrefix(text, "unix:"):
		if CheckHostPort(text) != nil {
			return a, errors.New(wantAddress)
		}
		return a, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host != "" || len(u.Path) < 2 || u.Path[0] != '/' || u.Fragment != "" || u.User != nil {
		return a, errors.New(wantAddress)
	}
	a.Name, a.Network, a.Addr, a.Mode = "unix://"+u.Path, "unix", u.Path, defaultSocketMode
	for key, values := range u.Query() {
		mode, err := parseMode(values[0])
		if key != "mode" || len(values) > 1 || err != nil {
			return a, errors.New("unix:///path, with no key but mode: " + wantMode)
		}
		a.Mode = mode
	}
	return a, nil
}

func parseMode(text string) (fs.FileMode, error) {
	bits, err := strconv.ParseUint(text, 8, 32)
	if err == nil && (len(text) < 3 || len(text) > 4 || bits > 0o777) {
		err = strconv.ErrRange
	}
	return fs.FileMode(bits), err
}

func AppendAddress(list []Address, a Address) ([]Address, error) {
	if slices.ContainsFunc(list, func(other Address) bool { return other.Name == a.Name }) {
		return list, fmt.Errorf("%s: the same address twice: want it once", a.Origin)
	}
	return append(list, a), nil
}

// LoadTLS reads the files.
func (a *Address) LoadTLS() error {
	if a.Files == (TLSFiles{}) {
		return nil
	}
	source, err := certfile.Open(certfile.Files{CA: a.Files.ClientCA, Cert: a.Files.Cert, Key: a.Files.Key})
	if err != nil {
		return fmt.Errorf("%s: %w", a.Origin, err)
	}
	a.Certs = source
	return nil
}

// TLSConfig is for the next handshake, with the files as they are now; nil: no
// TLS. changed and err are those of certfile.Source.
func TLSConfig(certs *certfile.Source) (cfg *tls.Config, changed bool, err error) {
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

// Expired reports whether its certificate is over.
func (a *Address) Expired() bool {
	cfg, _, _ := TLSConfig(a.Certs) // read a moment ago
	return cfg != nil && cfg.Certificates[0].Leaf.NotAfter.Before(time.Now())
}

// String names it for people.
func (a *Address) String() string {
	text := a.Name
	if a.Inherited != nil {
		text = a.Addr + " (from systemd)"
	}
	switch {
	case a.Network == "unix" && a.Inherited == nil:
		text += fmt.Sprintf(" (mode %04o)", a.Mode)
	case a.Files.ClientCA != "":
		text += " with TLS, for clients with a certificate"
	case a.Files.Cert != "":
		text += " with TLS"
	}
	return text
}

// Local reports whether nobody beyond this machine reaches it. What systemd
// will pass is not known while a configuration is only checked.
func (a *Address) Local() bool {
	if a.Network != "tcp" {
		return true
	}
	host, _, err := net.SplitHostPort(a.Addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// CheckHostPort says whether pages can be served at an address.
func CheckHostPort(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 || strings.ContainsAny(host, " /") {
		return &net.AddrError{Err: "no port", Addr: addr}
	}
	return nil
}
