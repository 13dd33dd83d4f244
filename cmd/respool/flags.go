package main

import (
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
)

// credentialsFlag is the flag of all commands that take a URL.
type credentialsFlag struct {
	Credentials string `placeholder:"file:PATH|env:NAME|command:PROGRAM..." help:"Source of the user name and password, instead of the URL: a JSON object with username, password and expires (RFC 3339). respool reads the source again before the credentials expire."`
}

// options parses a URL and adds the credentials that the flag names.
func (f *credentialsFlag) options(url string) (respool.Options, error) {
	return credentials.Options(url, f.Credentials)
}

// minTime is the shortest time that most flags take.
const minTime = 100 * time.Millisecond

// filterFlags select connections of CLIENT LIST. A connection has to match all flags that are set.
type filterFlags struct {
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
	case f.Idle < 0:
		return fmt.Errorf("--idle is %v: want a time such as 10m", f.Idle)
	case f.Age < 0:
		return fmt.Errorf("--age is %v: want a time such as 1h", f.Age)
	}
	return nil
}
