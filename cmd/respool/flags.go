package main

import (
	"fmt"
	"net/url"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
)

// credentialsFlag is the flag of all commands that take a URL.
type credentialsFlag struct {
	Credentials string `placeholder:"file:PATH|env:NAME|command:PROGRAM..." help:"Source of the user name and password, instead of the URL: a JSON object with username, password and expires (RFC 3339). respool reads the source again before the credentials expire."`
}

// options parses a URL and adds the credentials that the flag names.
func (f *credentialsFlag) options(text string) (respool.Options, error) {
	return credentials.Options(text, f.Credentials)
}

// waitFlag is the flag of commands that can wait for a free connection of a full server.
type waitFlag struct {
	Wait time.Duration `help:"Wait this long for a free connection if the server is full (maxclients)."`
}

// maxWait bounds --wait.
const maxWait = 24 * time.Hour

// target returns the servers of options.
func (f *waitFlag) target(opt respool.Options, err error) (connect.Target, error) {
	if err == nil && (f.Wait < 0 || f.Wait > maxWait) {
		err = fmt.Errorf("--wait is %v: want a time such as 60s, up to %v", f.Wait, maxWait)
	}
	return connect.Target{Options: opt, Wait: f.Wait}, err
}

// target returns what a URL leads to: servers, or a running watch or serve.
func target(text string, c credentialsFlag, w waitFlag) (t connect.Target, err error) {
	if !relay.IsURL(text) {
		return w.target(c.options(text))
	}
	if c.Credentials != "" {
		return t, fmt.Errorf("--credentials with %s: want only one; that process has its own credentials", text)
	}
	t.Held, err = relay.NewClient(text)
	return t, err
}

// copyable returns a URL as an argument of the commands that a report recommends. It is empty if those need more: a URL may
// contain secrets, and the other commands need the same credentials.
func copyable(text string, credentials bool) string {
	u, err := url.Parse(text)
	if err != nil || credentials || u.User != nil || u.RawQuery != "" {
		return ""
	}
	return text
}

// minTime is the shortest time that most flags take.
const minTime = 100 * time.Millisecond

// filterFlags select connections of CLIENT LIST. A connection has to match all flags that are set.
type filterFlags struct {
	ID      int64         `name:"id" help:"Only the connection with this id in CLIENT LIST. Each node of a cluster has ids of its own: add --addr there."`
	Service string        `help:"Only connections of this service, as respool who names it."`
	Name    string        `help:"Only connections with this name in CLIENT LIST."`
	Lib     string        `help:"Only connections of this library, such as redis-py."`
	Addr    string        `help:"Only connections from this address, with or without a port."`
	User    string        `help:"Only connections of this user."`
	Cmd     string        `help:"Only connections whose last command is this one, such as blpop or client|list."`
	Idle    time.Duration `help:"Only connections that have been idle for this time. Excludes blocked and subscribed connections."`
	Age     time.Duration `help:"Only connections that have been open for this time."`
}

// Validate checks the flags. kong calls it.
func (f *filterFlags) Validate() error {
	switch {
	case f.ID < 0:
		return fmt.Errorf("--id is %d: want an id of CLIENT LIST", f.ID)
	case f.Idle < 0:
		return fmt.Errorf("--idle is %v: want a time such as 10m", f.Idle)
	case f.Age < 0:
		return fmt.Errorf("--age is %v: want a time such as 1h", f.Age)
	}
	return nil
}
