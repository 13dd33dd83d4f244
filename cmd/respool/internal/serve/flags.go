package serve

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/input"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// Flags are the command line of a gateway.
type Flags struct {
	Credentials string
	URL         string
	Config      string // a file
	Profile     string
	URLFile     string
	Listen      []string
	HTTP        string // off: nowhere
	Socket      string // of respool kill; empty: as configured
	Insecure    bool
	Admin       bool
	PassThrough bool
	TLSCert     string
	TLSKey      string
	TLSCA       string
	MaxClients  *int           // nil: not given
	Loops       *int           // nil: not given
	Drain       *time.Duration // nil: not given
	Takeover    string         // empty: as configured
	Check       bool           // only check the configuration
}

// Read reads the configuration, applies the flags and checks the result. If passed is nil, sockets
// of systemd need not exist. Nor need they with a takeover if systemd passed none: they may come from the running gateway.
func (f *Flags) Read(passed *systemd.Sockets) (config.Serve, error) { return f.read(passed, false) }

// read is Read. With strict, sockets of systemd must exist.
func (f *Flags) read(passed *systemd.Sockets, strict bool) (config.Serve, error) {
	s := config.NewServe()
	if err := f.check(); err != nil {
		return s, err
	}
	var err error
	if f.Config != "" {
		if s, err = yamlnode.ReadProfile(f.Config, f.Profile, config.ParseServe); err != nil {
			return s, err
		}
	}
	if err := f.upstream(&s); err != nil {
		return s, err
	}
	if err := f.override(&s); err != nil {
		return s, err
	}
	if f.Check || s.Takeover != "" && !strict && passed.Empty() {
		passed = nil
	}
	if s.Listen, err = passed.Resolve(s.Listen); err != nil {
		return s, err
	}
	f.useCertificate(s.Listen)
	for i := range s.Listen {
		if err := s.Listen[i].LoadTLS(); err != nil {
			return s, err
		}
	}
	if err := s.Gateway.Check(s.Watch.Sampler.Options.Cluster != nil); err != nil {
		return s, err
	}
	if err := checkTakeover(&s); err != nil {
		return s, err
	}
	if !f.Insecure {
		err = s.CheckSafe()
	}
	return s, err
}

// check checks the flags by themselves.
func (f *Flags) check() error {
	switch {
	case f.URL != "" && f.URLFile != "":
		return fmt.Errorf("a URL and --url-file: want only one")
	case f.Config == "" && f.Profile != "":
		return fmt.Errorf("--profile without a configuration: want -c")
	case f.MaxClients != nil && (*f.MaxClients < 1 || *f.MaxClients > yamlnode.MaxCount):
		return fmt.Errorf("--max-clients is %d: want 1 to %d", *f.MaxClients, yamlnode.MaxCount)
	case f.Loops != nil && (*f.Loops < 1 || *f.Loops > gateway.MaxLoops):
		return fmt.Errorf("--loops is %d: want 1 to %d", *f.Loops, gateway.MaxLoops)
	case f.Drain != nil && *f.Drain < yamlnode.MinDuration:
		return fmt.Errorf("--drain is %v: want a time such as 30s", *f.Drain)
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return fmt.Errorf("one of --tls-cert and --tls-key: want both")
	case f.TLSCA != "" && f.TLSCert == "":
		return fmt.Errorf("--tls-ca without --tls-cert and --tls-key: want all three")
	}
	if f.HTTP != "" && f.HTTP != "off" && config.CheckHostPort(f.HTTP) != nil {
		return fmt.Errorf("--http is %q: want host:port such as %s, or off", f.HTTP, config.DefaultServePages)
	}
	return nil
}

// upstream sets the server. The command line overrides the configuration.
func (f *Flags) upstream(s *config.Serve) error {
	source, err := credentials.ParseFlag(f.Credentials)
	if err != nil {
		return err
	}
	if f.URL != "" || f.URLFile != "" || !source.IsZero() {
		s.Watch.Source = source // the credentials of the configuration belong to its own URL
	}
	switch {
	case f.URLFile != "":
		url, err := readURL(f.URLFile)
		if err != nil {
			return fmt.Errorf("--url-file: %w", err)
		}
		return s.Watch.UseServer(url, "--url-file "+f.URLFile+": ", "")
	case f.URL != "":
		return s.Watch.UseServer(f.URL, "", "")
	case s.Watch.URL != "" && !source.IsZero():
		return s.Watch.UseServer(s.Watch.URL, s.Watch.URLOrigin, "")
	case s.Watch.URL != "":
		return nil
	case !source.IsZero():
		return errors.New("--credentials without a URL: want both")
	case f.Config != "":
		return fmt.Errorf("%s: url is missing: want the server, or the service with its sentinels (the embedded server takes no configuration)", f.Config)
	}
	s.Embedded = true
	return nil
}

// checkTakeover returns an error if no process can take over from a gateway with this configuration.
func checkTakeover(s *config.Serve) error {
	switch {
	case s.Takeover == "":
	case runtime.GOOS != "linux":
		return errors.New("takeover: sockets can move between processes on Linux only: remove takeover")
	case s.Embedded:
		return errors.New("takeover without a URL: want both, since the embedded server ends with its process")
	}
	return nil
}

// maxURLFile is the maximum size of a file with a URL, in bytes.
const maxURLFile = 64 << 10

func readURL(file string) (string, error) {
	f, err := input.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxURLFile))
	if err != nil {
		return "", err
	}
	url := strings.TrimSpace(string(text))
	if url == "" || strings.ContainsAny(url, "\r\n") {
		return "", fmt.Errorf("%s holds %d lines: want one, the URL", file, len(strings.Fields(url)))
	}
	return url, nil
}

// override replaces settings by flags.
func (f *Flags) override(s *config.Serve) error {
	if f.HTTP == "off" {
		s.Watch.Pages = ""
	} else if f.HTTP != "" {
		s.Watch.Pages = f.HTTP
	}
	socket, err := config.SocketFlag(f.Socket)
	if err != nil {
		return err
	}
	if socket != nil {
		s.Watch.Socket = socket
	}
	if f.MaxClients != nil {
		s.Gateway.MaxClients = *f.MaxClients
	}
	if f.Loops != nil {
		s.Gateway.Loops = *f.Loops
	}
	if f.Drain != nil {
		s.Drain = *f.Drain
	}
	s.Takeover = cmp.Or(f.Takeover, s.Takeover)
	s.Gateway.Admin = s.Gateway.Admin || f.Admin
	s.Gateway.PassThrough = s.Gateway.PassThrough || f.PassThrough
	if len(f.Listen) > 0 {
		s.Listen = nil
	}
	for _, text := range f.Listen {
		a, err := config.ParseAddress(text)
		if err != nil {
			return fmt.Errorf("--listen is %.80q: want %w", text, err)
		}
		a.Origin = "--listen " + text
		if s.Listen, err = config.AppendAddress(s.Listen, a); err != nil {
			return err
		}
	}
	return nil
}

// useCertificate sets the certificate of the flags for all TCP listeners.
func (f *Flags) useCertificate(list []config.Address) {
	for i := range list {
		if f.TLSCert != "" && list[i].Network != "unix" {
			list[i].Files = config.TLSFiles{Cert: f.TLSCert, Key: f.TLSKey, ClientCA: f.TLSCA}
		}
	}
}
