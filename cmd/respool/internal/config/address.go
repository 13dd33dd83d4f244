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

// Address is a configured address at which the gateway listens.
type Address struct {
	Name      string // host:port, unix:///path or systemd:name; unique
	Origin    string // its place in errors
	Network   string // tcp, unix, or systemd until the socket is known
	Addr      string
	Mode      fs.FileMode // of a unix socket
	Files     TLSFiles
	Certs     *certfile.Source // the content of the files; nil: none
	Inherited net.Listener     // passed by systemd; nil: to be opened
}

// TLSFiles are the PEM files of one listener.
type TLSFiles struct{ Cert, Key, ClientCA string }

// defaultSocketMode admits only the same user.
const defaultSocketMode fs.FileMode = 0o600

const (
	wantMode      = "the mode of the socket in octal, such as 0660"
	wantAddress   = "host:port such as " + DefaultListen + ", unix:///path?mode=0660, or systemd:NAME"
	SystemdPrefix = "systemd:"
)

// DefaultAddress is the address of a gateway without a configuration.
func DefaultAddress() Address {
	return Address{Name: DefaultListen, Origin: "--listen " + DefaultListen, Network: "tcp", Addr: DefaultListen}
}

// ParseAddress parses an address. Its errors state the accepted forms.
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
			return a, errors.New("unix:///path, with only the key mode: " + wantMode)
		}
		a.Mode = mode
	}
	return a, nil
}

// ParseSocket parses the address of the Unix socket for respool kill.
func ParseSocket(text string) (Address, error) {
	a, err := ParseAddress(text)
	if err != nil || a.Network != "unix" {
		return a, errors.New("unix:///path?mode=0600")
	}
	return a, nil
}

// SocketFlag parses the flag --socket; empty: none.
func SocketFlag(text string) (*Address, error) {
	if text == "" {
		return nil, nil
	}
	a, err := ParseSocket(text)
	if err != nil {
		return nil, fmt.Errorf("--socket is %.80q: want %w", text, err)
	}
	a.Origin = "--socket " + text
	return &a, nil
}

func parseMode(text string) (fs.FileMode, error) {
	bits, err := strconv.ParseUint(text, 8, 32)
	if err == nil && (len(text) < 3 || len(text) > 4 || bits > 0o777) {
		err = strconv.ErrRange
	}
	return fs.FileMode(bits), err
}

// AppendAddress appends an address. It refuses one that is in the list.
func AppendAddress(list []Address, a Address) ([]Address, error) {
	if slices.ContainsFunc(list, func(other Address) bool { return other.Name == a.Name }) {
		return list, fmt.Errorf("%s: duplicate address: want it once", a.Origin)
	}
	return append(list, a), nil
}

// LoadTLS opens the TLS files, if there are any.
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

// TLSConfig returns the configuration of the next handshake, with the current content of the files,
// or nil for no TLS. changed and err are those of certfile.Source.
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

// Expired reports whether the certificate has expired.
func (a *Address) Expired() bool {
	cfg, _, _ := TLSConfig(a.Certs) // read just now
	return cfg != nil && cfg.Certificates[0].Leaf.NotAfter.Before(time.Now())
}

// String describes the address for people.
func (a *Address) String() string {
	text := a.Name
	if a.Inherited != nil {
		text = a.Addr + " (from systemd)"
	}
	switch {
	case a.Network == "unix" && a.Inherited == nil:
		text += fmt.Sprintf(" (mode %04o)", a.Mode)
	case a.Files.ClientCA != "":
		text += " with TLS and client certificates"
	case a.Files.Cert != "":
		text += " with TLS"
	}
	return text
}

// Local reports whether only this machine can reach the address. A socket that systemd has yet to
// pass counts as local.
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

// CheckHostPort checks an address of the form host:port.
func CheckHostPort(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 || strings.ContainsAny(host, " /") {
		return &net.AddrError{Err: "missing or invalid port", Addr: addr}
	}
	return nil
}
