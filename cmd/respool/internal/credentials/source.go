// Package credentials reads user names and passwords from a file, an environment
// variable or a command, whenever a client asks for them. It keeps no secret
// longer than a command's output may be reused, and shows none in errors. It
// starts no goroutines; a command runs within the call that asks for it.
package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/input"
)

// Source is the origin of the user name, the password and their expiry: a command, a file or an
// environment variable. Each holds the same JSON object. The zero value is no source: the
// credentials of the URL are used.
type Source struct {
	command []string
	file    string
	env     string
	timeout time.Duration // of the command
}

// Limits of a source.
const (
	defaultTimeout = 10 * time.Second
	MaxSize        = 64 << 10 // bytes
	maxStderr      = 200      // bytes
	// maxReuse is how long the output of a command is reused for further dials, at most.
	maxReuse = time.Minute
)

// Options parses a URL, and adds the source of credentials that flag names. An empty flag names
// none.
func Options(url, flag string) (respool.Options, error) {
	source, err := ParseFlag(flag)
	if err != nil {
		return respool.Options{}, err
	}
	opt, err := respool.ParseURL(url)
	if err != nil {
		return opt, err
	}
	return opt, source.AddTo(&opt)
}

// ParseFlag parses the value of the flag --credentials. An empty text is no source.
func ParseFlag(flag string) (s Source, err error) {
	kind, rest, _ := strings.Cut(flag, ":")
	switch {
	case flag == "":
		return s, nil
	case rest == "":
	case kind == "file":
		return Source{file: rest}, nil
	case kind == "env":
		return Source{env: rest}, nil
	case kind == "command":
		s = Source{command: strings.Fields(rest)}
		return s, s.checkCommand()
	}
	return s, errors.New("--credentials: want file:PATH, env:NAME, or command:PROGRAM with its arguments")
}

// checkCommand checks that the command exists. Files and variables may appear later.
func (s *Source) checkCommand() error {
	if s.command == nil {
		return nil
	}
	if len(s.command) == 0 || s.command[0] == "" {
		return errors.New("the command for credentials is empty: want a program and its arguments")
	}
	if _, err := exec.LookPath(s.command[0]); err != nil {
		return fmt.Errorf("the command for credentials cannot be run: %w", err)
	}
	return nil
}

// AddTo sets the source in the options of a client, unless it is zero.
func (s *Source) AddTo(opt *respool.Options) error {
	if s.IsZero() {
		return nil
	}
	if opt.Username != "" || opt.Password != "" {
		return errors.New("the URL has a user or password, and a source of credentials is set: want only one of them")
	}
	switch {
	case s.file != "":
		opt.Credentials = s.fromFile
	case s.env != "":
		opt.Credentials = s.fromEnv
	default:
		opt.Credentials = (&command{source: *s}).ask
	}
	return nil
}

func (s *Source) IsZero() bool { return s.command == nil && s.file == "" && s.env == "" }

func (s *Source) fromFile(context.Context) (respool.Credentials, error) {
	f, err := input.Open(s.file)
	if err != nil {
		return respool.Credentials{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return respool.Credentials{}, err
	}
	return decode("file "+s.file, raw)
}

func (s *Source) fromEnv(context.Context) (respool.Credentials, error) {
	raw, ok := os.LookupEnv(s.env)
	if !ok {
		return respool.Credentials{}, fmt.Errorf("the environment variable %s is not set: want the credentials in it, as JSON", s.env)
	}
	return decode("variable "+s.env, []byte(raw))
}

// decode decodes the JSON object that where holds. Errors show nothing of it.
func decode(where string, raw []byte) (c respool.Credentials, err error) {
	const want = `want a JSON object such as {"username": "app", "password": "...", "expires": "2030-01-31T12:00:00Z"} (the content is hidden, since it may be a password)`
	var got struct {
		Username string
		Password *string
		Expires  string
	}
	switch {
	case len(raw) > MaxSize:
		return c, fmt.Errorf("the credentials in %s are larger than %d bytes: %s", where, MaxSize, want)
	case json.Unmarshal(raw, &got) != nil:
		return c, fmt.Errorf("the credentials in %s are not a valid JSON object: %s", where, want)
	case got.Password == nil || *got.Password == "":
		return c, fmt.Errorf("the credentials in %s have no password: %s", where, want)
	}
	c = respool.Credentials{Username: got.Username, Password: *got.Password}
	if got.Expires != "" {
		if c.Expires, err = time.Parse(time.RFC3339, got.Expires); err != nil {
			return respool.Credentials{}, fmt.Errorf("the credentials in %s have an expires that is not an RFC 3339 time: %s", where, want)
		}
	}
	return c, nil
}
