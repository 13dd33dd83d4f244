package config

import (
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// Serve are what respool serve does: a configuration and flags, put
// together and checked, with the certificates that they name.
type Serve struct {
	Watch    Watch // its server is the gateway's too
	Gateway  gateway.Config
	Listen   []Address
	Drain    time.Duration
	url      string             // of the serve section alone
	urlAt    string             // where the file has it, as errors begin
	source   credentials.Source // of that URL
	Embedded bool               // there is no URL: it brings a server
}

// The defaults of respool serve. Its pages are beside those of a watch, so that
// both can run on one machine.
const (
	DefaultListen     = "127.0.0.1:6380"
	DefaultServePages = "127.0.0.1:9121"
	DefaultDrain      = 30 * time.Second
	// DefaultMaxClients is the gateway's own default, as in Redis.
	DefaultMaxClients = 10_000
)

func NewServe() Serve {
	s := Serve{Watch: DefaultWatch(), Drain: DefaultDrain}
	s.Watch.Pages, s.Watch.Sampler.Purpose = DefaultServePages, "serve"
	return s
}

// ParseServe reads a configuration of a gateway, without its profiles.
func ParseServe(top yamlnode.Node) (Serve, error) {
	s := NewServe()
	if err := s.Watch.readSections(top, &s); err != nil {
		return s, err
	}
	if s.url != "" {
		s.Watch.Url, s.Watch.UrlAt, s.Watch.Source = s.url, s.urlAt, s.source
	} else if !s.source.IsZero() {
		return s, fmt.Errorf("%s: serve.credentials without serve.url: want both, or credentials beside url", top.File)
	}
	if s.Watch.Url == "" {
		return s, nil
	}
	return s, s.Watch.UseServer(s.Watch.Url, s.Watch.UrlAt, top.File+": ")
}
