package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// subject is a target of the load.
type subject struct {
	name  string
	addr  string
	proxy *process // nil: the load reaches redis-server directly
	pprof string   // address of the proxy's profiles; empty: none
}

// subject starts a subject of a case and waits until it replies.
func (l *lab) subject(name string, c gatewayCase) (*subject, error) {
	kind := name
	if name == gateway && (l.gateway[0] == direct || l.gateway[0] == twemproxy) {
		kind = l.gateway[0]
	}
	switch kind {
	case twemproxy:
		return l.openTwemproxy(name)
	case gateway:
		return l.openGateway(cmp.Or(c.Connections, l.connections))
	default:
		return &subject{name: name, addr: l.addr}, nil
	}
}

func (l *lab) openGateway(connections int) (*subject, error) {
	s := &subject{name: gateway, addr: freeAddr()}
	if strings.Contains(strings.Join(l.gateway, " "), "{pprof}") {
		s.pprof = freeAddr()
	}
	fill := strings.NewReplacer("{redis}", l.addr, "{listen}", s.addr, "{pprof}", s.pprof, "{connections}", strconv.Itoa(connections))
	var argv []string
	for _, word := range l.gateway {
		argv = append(argv, fill.Replace(word))
	}
	return s, s.begin(l.dir, argv)
}

// openTwemproxy starts twemproxy with its defaults, except that it connects to the server at its
// start. Its pages, log and pid file have their own places.
func (l *lab) openTwemproxy(name string) (*subject, error) {
	s := &subject{name: name, addr: freeAddr()}
	file, err := os.CreateTemp(l.dir, "nutcracker-*.yml")
	if err != nil {
		return nil, err
	}
	_, err = file.WriteString(twemproxyConfig(s.addr, l.addr))
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(freeAddr(), ":")
	return s, s.begin(l.dir, []string{"nutcracker", "--conf-file", file.Name(), "--output", "/dev/stderr",
		"--stats-addr", host, "--stats-port", port, "--pid-file", filepath.Join(l.dir, "nutcracker.pid")})
}

// twemproxyConfig is the complete configuration.
func twemproxyConfig(listen, redis string) string {
	return fmt.Sprintf("bench:\n  listen: %s\n  redis: true\n  preconnect: true\n  servers:\n    - %s:1\n", listen, redis)
}

func (s *subject) begin(dir string, argv []string) error {
	var err error
	if s.proxy, err = start(dir, s.name, argv...); err != nil {
		return err
	}
	if err = s.proxy.ready(s.addr); err != nil {
		s.close()
	}
	return err
}

func (s *subject) close() {
	if s.proxy != nil {
		s.proxy.stop()
	}
}
