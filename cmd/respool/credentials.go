package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool"
)

// credentialsSource is where the user, the password and their expiry come from: one of a command, a file and a variable
// of the environment. Each holds the same JSON object. The zero value is none: those of the URL are used.
type credentialsSource struct {
	command []string
	file    string
	env     string
	timeout time.Duration // of the command
}

// The bounds of a source.
const (
	defaultCredentialsTimeout = 10 * time.Second
	mostCredentials           = 64 << 10 // bytes
	stderrShown               = 200      // bytes
	// commandReuse is how long the output of a command is used for further dials at most.
	commandReuse = time.Minute
)

// credentialsFlag is the flag of all commands that take a URL.
type credentialsFlag struct {
	Credentials string `placeholder:"file:PATH|env:NAME|command:PROGRAM..." help:"Where user and password come from, instead of the URL: a JSON object with username, password and expires (RFC 3339). It is asked again before they expire."`
}

// options are those of a URL, with the credentials that the flag names.
func (f *credentialsFlag) options(url string) (respool.Options, error) {
	source, err := f.source()
	if err != nil {
		return respool.Options{}, err
	}
	opt, err := respool.ParseURL(url)
	if err != nil {
		return opt, err
	}
	return opt, source.addTo(&opt)
}

// source is what the flag names.
func (f *credentialsFlag) source() (s credentialsSource, err error) {
	kind, rest, _ := strings.Cut(f.Credentials, ":")
	switch {
	case f.Credentials == "":
		return s, nil
	case rest == "":
	case kind == "file":
		return credentialsSource{file: rest}, nil
	case kind == "env":
		return credentialsSource{env: rest}, nil
	case kind == "command":
		s = credentialsSource{command: strings.Fields(rest)}
		return s, s.check()
	}
	return s, errors.New("--credentials: want file:PATH, env:NAME, or command:PROGRAM with its arguments")
}

// readCredentials reads the section credentials of a configuration.
func readCredentials(into *credentialsSource) func(node) error {
	return func(n node) error {
		*into = credentialsSource{}
		err := n.fields(map[string]func(node) error{
			"command": texts(&into.command), "file": text(&into.file), "env": text(&into.env), "timeout": lasting(&into.timeout),
		})
		if err != nil {
			return err
		}
		set := 0
		for _, is := range []bool{into.command != nil, into.file != "", into.env != ""} {
			if is {
				set++
			}
		}
		switch {
		case set != 1 || n.resolved().Kind != yaml.MappingNode:
			return n.errorf("want one of the keys command, file and env")
		case into.timeout > 0 && into.command == nil:
			return n.errorf("a timeout without a command: want it with one")
		}
		if err := into.check(); err != nil {
			return n.errorf("%v", err)
		}
		return nil
	}
}

// check looks whether the command is there. Files and variables may come later.
func (s *credentialsSource) check() error {
	if s.command == nil {
		return nil
	}
	if len(s.command) == 0 || s.command[0] == "" {
		return errors.New("the command for credentials is empty: want a program and its arguments")
	}
	if _, err := exec.LookPath(s.command[0]); err != nil {
		return fmt.Errorf("the command for credentials can't be run: %w", err)
	}
	return nil
}

// addTo has a client ask the source, if there is one.
func (s *credentialsSource) addTo(opt *respool.Options) error {
	if s.none() {
		return nil
	}
	if opt.Username != "" || opt.Password != "" {
		return errors.New("the URL has a user or a password, and there is a source of credentials: want one of them")
	}
	switch {
	case s.file != "":
		opt.Credentials = s.fromFile
	case s.env != "":
		opt.Credentials = s.fromEnv
	default:
		opt.Credentials = (&credentialsCommand{source: *s}).credentials
	}
	return nil
}

func (s *credentialsSource) none() bool { return s.command == nil && s.file == "" && s.env == "" }

func (s *credentialsSource) fromFile(context.Context) (respool.Credentials, error) {
	f, err := openFile(s.file)
	if err != nil {
		return respool.Credentials{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, mostCredentials+1))
	if err != nil {
		return respool.Credentials{}, err
	}
	return decodeCredentials("file "+s.file, raw)
}

func (s *credentialsSource) fromEnv(context.Context) (respool.Credentials, error) {
	raw, ok := os.LookupEnv(s.env)
	if !ok {
		return respool.Credentials{}, fmt.Errorf("the environment has no variable %s: want the credentials in it, as JSON", s.env)
	}
	return decodeCredentials("variable "+s.env, []byte(raw))
}

// decodeCredentials reads the JSON object that where holds. Errors show nothing of it.
func decodeCredentials(where string, raw []byte) (c respool.Credentials, err error) {
	const want = `want a JSON object such as {"username": "app", "password": "...", "expires": "2030-01-31T12:00:00Z"} (what is there is not shown, since it may be a password)`
	var got struct {
		Username string
		Password *string
		Expires  string
	}
	switch {
	case len(raw) > mostCredentials:
		return c, fmt.Errorf("the credentials in %s are larger than %d bytes: %s", where, mostCredentials, want)
	case json.Unmarshal(raw, &got) != nil:
		return c, fmt.Errorf("the credentials in %s are no such JSON: %s", where, want)
	case got.Password == nil || *got.Password == "":
		return c, fmt.Errorf("the credentials in %s have no password: %s", where, want)
	}
	c = respool.Credentials{Username: got.Username, Password: *got.Password}
	if got.Expires != "" {
		if c.Expires, err = time.Parse(time.RFC3339, got.Expires); err != nil {
			return respool.Credentials{}, fmt.Errorf("the credentials in %s have an expires that is no time of RFC 3339: %s", where, want)
		}
	}
	return c, nil
}

// credentialsCommand runs a program for credentials, one run at a time, and uses what it printed for a while: many
// connections may be dialed at once.
type credentialsCommand struct {
	source credentialsSource

	mu     sync.Mutex
	last   respool.Credentials
	askAt  time.Time // when the program is run again
	failed error     // of the last run, told to those who waited for it
	ended  time.Time // of the last run
}

func (c *credentialsCommand) credentials(ctx context.Context) (respool.Credentials, error) {
	came := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.failed == nil && now.Before(c.askAt):
		return c.last, nil
	case c.failed != nil && came.Before(c.ended): // it waited for this run
		return respool.Credentials{}, c.failed
	case ctx.Err() != nil:
		return respool.Credentials{}, ctx.Err()
	}
	c.last, c.failed = c.source.run(ctx)
	c.ended = time.Now()
	c.askAt = c.ended.Add(time.Second)
	if life := c.last.Expires.Sub(c.ended); !c.last.Expires.IsZero() {
		c.askAt = c.ended.Add(min(life/2, commandReuse))
	}
	return c.last, c.failed
}

// run runs the program. What it prints on standard error is in the error; what it prints on standard output never is.
func (s *credentialsSource) run(ctx context.Context) (none respool.Credentials, err error) {
	limit := s.timeout
	if limit == 0 {
		limit = defaultCredentialsTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not end within %v", limit))
	defer cancel()
	name := "command " + filepath.Base(s.command[0])
	out, said := &beginning{limit: mostCredentials + 1}, &beginning{limit: stderrShown}
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	cmd.Stdout, cmd.Stderr = out, said
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		text := "it wrote nothing to standard error"
		if kept := bytes.TrimSpace(said.kept); len(kept) > 0 {
			text = fmt.Sprintf("it wrote %q", kept)
		}
		return none, fmt.Errorf("%s for credentials failed: %w: %s", name, err, text)
	}
	return decodeCredentials("the output of "+name, out.kept)
}

// beginning keeps the first bytes of what is written to it.
type beginning struct {
	kept  []byte
	limit int
}

func (b *beginning) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), b.limit-len(b.kept))]...)
	return len(p), nil
}
