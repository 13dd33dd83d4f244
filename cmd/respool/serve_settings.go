package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// serveSettings are what respool serve does: a configuration and flags, put
// together and checked, with the certificates that they name.
type serveSettings struct {
	watch     settings // its server is the gateway's too
	gateway   gateway.Config
	entrances []entrance
	drain     time.Duration
	url       string            // of the serve section alone
	urlAt     string            // where the file has it, as errors begin
	source    credentialsSource // of that URL
	embedded  bool              // there is no URL: it brings a server
}

// The defaults of respool serve. Its pages are beside those of a watch, so that
// both can run on one machine.
const (
	defaultEntrance   = "127.0.0.1:6380"
	defaultServePages = "127.0.0.1:9121"
	defaultDrain      = 30 * time.Second
)

func defaultServe() serveSettings {
	s := serveSettings{watch: defaultSettings(), drain: defaultDrain}
	s.watch.listen, s.watch.sampler.Purpose = defaultServePages, "serve"
	return s
}

// read gives the settings that the command line and the configuration say.
// Where passed is nil nobody has to have passed any socket.
func (c *serveCmd) read(passed *passedOnes) (serveSettings, error) {
	s := defaultServe()
	if err := c.check(); err != nil {
		return s, err
	}
	var err error
	if c.Config != "" {
		if s, err = readProfiled(c.Config, c.Profile, parseServe); err != nil {
			return s, err
		}
	}
	if err := c.upstream(&s); err != nil {
		return s, err
	}
	if err := c.override(&s); err != nil {
		return s, err
	}
	if c.Check {
		passed = nil
	}
	if s.entrances, err = passed.resolve(s.entrances); err != nil {
		return s, err
	}
	c.secure(s.entrances)
	for i := range s.entrances {
		if err := s.entrances[i].loadTLS(); err != nil {
			return s, err
		}
	}
	if err := s.gateway.Check(); err != nil {
		return s, err
	}
	if !c.Insecure {
		err = s.checkSafe()
	}
	return s, err
}

// parseServe reads a configuration of a gateway, without its profiles.
func parseServe(top node) (serveSettings, error) {
	s := defaultServe()
	if err := s.watch.readSections(top, &s); err != nil {
		return s, err
	}
	if s.url != "" {
		s.watch.url, s.watch.urlAt, s.watch.source = s.url, s.urlAt, s.source
	} else if !s.source.none() {
		return s, fmt.Errorf("%s: serve.credentials without serve.url: want both, or credentials beside url", top.file)
	}
	if s.watch.url == "" {
		return s, nil
	}
	return s, s.watch.lookAt(s.watch.url, s.watch.urlAt, top.file+": ")
}

// upstream settles which server it is. What the command line says wins.
func (c *serveCmd) upstream(s *serveSettings) error {
	source, err := c.source()
	if err != nil {
		return err
	}
	if c.URL != "" || c.URLFile != "" || !source.none() {
		s.watch.source = source // those of the configuration are for its own URL
	}
	switch {
	case c.URLFile != "":
		url, err := readURL(c.URLFile)
		if err != nil {
			return fmt.Errorf("--url-file: %w", err)
		}
		return s.watch.lookAt(url, "--url-file "+c.URLFile+": ", "")
	case c.URL != "":
		return s.watch.lookAt(c.URL, "", "")
	case s.watch.url != "" && !source.none():
		return s.watch.lookAt(s.watch.url, s.watch.urlAt, "")
	case s.watch.url != "":
		return nil
	case !source.none():
		return errors.New("--credentials without a URL: want both")
	case c.Config != "":
		return fmt.Errorf("%s: url is missing: want the server, or the service with its sentinels (an embedded server, which forgets all, takes no configuration)", c.Config)
	}
	s.embedded = true
	return nil
}

// mostURL bounds a file with a URL, in bytes.
const mostURL = 64 << 10

func readURL(file string) (string, error) {
	f, err := openFile(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostURL))
	if err != nil {
		return "", err
	}
	url := strings.TrimSpace(string(text))
	if url == "" || strings.ContainsAny(url, "\r\n") {
		return "", fmt.Errorf("%s holds %d lines: want one, the URL", file, len(strings.Fields(url)))
	}
	return url, nil
}

// override puts what flags say in the place of what the configuration says.
func (c *serveCmd) override(s *serveSettings) error {
	if c.HTTP == "off" {
		s.watch.listen = ""
	} else if c.HTTP != "" {
		s.watch.listen = c.HTTP
	}
	if c.MaxClients != nil {
		s.gateway.MaxClients = *c.MaxClients
	}
	if c.Drain != nil {
		s.drain = *c.Drain
	}
	s.gateway.Admin = s.gateway.Admin || c.Admin
	s.gateway.PassThrough = s.gateway.PassThrough || c.PassThrough
	if len(c.Listen) > 0 {
		s.entrances = nil
	}
	for _, text := range c.Listen {
		e, err := parseEntrance(text)
		if err != nil {
			return fmt.Errorf("--listen is %.80q: want %w", text, err)
		}
		e.where = "--listen " + text
		if s.entrances, err = withEntrance(s.entrances, e); err != nil {
			return err
		}
	}
	return nil
}

// secure gives the certificate that flags name to all TCP listeners.
func (c *serveCmd) secure(list []entrance) {
	for i := range list {
		if c.TLSCert != "" && list[i].network != "unix" {
			list[i].files = tlsFiles{c.TLSCert, c.TLSKey, c.TLSCA}
		}
	}
}
