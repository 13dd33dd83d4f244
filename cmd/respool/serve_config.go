package main

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// readSection reads the section serve of a configuration.
func (s *serveSettings) readSection(n node) error {
	g := &s.gateway
	err := n.fields(map[string]func(node) error{
		"listen":                  s.readListen,
		"url":                     urlText(&s.url, &s.urlAt),
		"credentials":             readCredentials(&s.source),
		"max_clients":             whole(&g.MaxClients, 1, mostCount),
		"max_clients_per_address": orNone(&g.MaxClientsPerAddress, whole(&g.MaxClientsPerAddress, 1, mostCount), "a whole number, or none"),
		"admin_clients":           whole(&g.AdminClients, 1, mostCount),
		"input_buffer":            size(&g.InputBuffer, 1<<10),
		"output_buffer":           size(&g.OutputBuffer, 1<<10),
		"buffers":                 size(&g.Buffers, 1<<20),
		"pipeline":                whole(&g.Pipeline, 1, mostCount),
		"idle_timeout":            orNone(&g.IdleTimeout, span(&g.IdleTimeout), "a time such as 30s, or none"),
		"request_timeout":         span(&g.RequestTimeout),
		"write_timeout":           span(&g.WriteTimeout),
		"on_failure":              onFailure(&g.CloseOnFailure),
		"drain":                   span(&s.drain),
		"admin":                   yesOrNo(&g.Admin),
		"users":                   s.readUsers,
		"pass_through":            yesOrNo(&g.PassThrough),
		"need_auth":               yesOrNo(&g.NeedAuth),
		"server_version":          version(&g.ServerVersion),
	})
	switch {
	case err != nil:
		return err
	case g.PassThrough && g.Users != nil:
		return n.errorf("users and pass_through: want one of them, as either the gateway or Redis knows the users")
	case g.NeedAuth && !g.PassThrough:
		return n.errorf("need_auth without pass_through: want both; users of the gateway's own have to name themselves anyway")
	case g.Buffers > 0 && g.Buffers < int64(cmp.Or(g.OutputBuffer, gateway.DefaultOutputBuffer)):
		return n.errorf("buffers is %d bytes and output_buffer %d: want buffers, which is of all clients, to be no less",
			g.Buffers, cmp.Or(g.OutputBuffer, gateway.DefaultOutputBuffer))
	}
	return nil
}

// readListen reads where it listens: a list of addresses, or of mappings.
func (s *serveSettings) readListen(n node) error {
	list := n.resolved()
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		return n.wrong("a list of addresses such as " + defaultEntrance)
	}
	for i, item := range list.Content {
		at := node{file: n.file, path: fmt.Sprintf("%s[%d]", n.path, i), Node: item}
		e, err := readEntrance(at)
		if err != nil {
			return err
		}
		e.where = fmt.Sprintf("%s:%d: %s: %s", at.file, at.Line, at.path, e.name)
		if s.entrances, err = withEntrance(s.entrances, e); err != nil {
			return err
		}
	}
	return nil
}

func readEntrance(n node) (e entrance, err error) {
	address := func(n node) error {
		var name string
		if err := text(&name)(n); err != nil {
			return err
		}
		if e, err = parseEntrance(name); err != nil {
			return n.wrong(err.Error())
		}
		return nil
	}
	if n.resolved().Kind == yaml.ScalarNode {
		err = address(n)
		return e, err
	}
	// The address decides what the other keys may be, wherever it stands.
	var files tlsFiles
	var mode, tlsAt *node
	keep := func(into **node) func(node) error {
		return func(n node) error { *into = &n; return nil }
	}
	err = n.fields(map[string]func(node) error{"address": address, "tls": keep(&tlsAt), "mode": keep(&mode)})
	switch {
	case err != nil:
		return e, err
	case e.name == "":
		return e, n.errorf("address is missing: want one such as %s", defaultEntrance)
	case tlsAt != nil && e.network == "unix":
		return e, tlsAt.errorf("TLS on a unix socket: want it where the address is host:port")
	case mode != nil && e.network != "unix":
		return e, mode.errorf("a mode and %s: want it where the address is unix:///path", e.name)
	}
	if tlsAt != nil {
		if err := files.read(*tlsAt); err != nil {
			return e, err
		}
		e.files = files
	}
	if mode != nil {
		if e.mode, err = parseMode(mode.resolved().Value); err != nil || mode.resolved().Kind != yaml.ScalarNode {
			return e, mode.wrong(wantMode)
		}
	}
	return e, nil
}

// read reads the files of one listener.
func (f *tlsFiles) read(n node) error {
	if err := n.fields(map[string]func(node) error{"cert": text(&f.cert), "key": text(&f.key), "client_ca": text(&f.ca)}); err != nil {
		return err
	}
	if f.cert == "" || f.key == "" {
		return n.errorf("cert or key is missing: want both")
	}
	return nil
}

func (s *serveSettings) readUsers(n node) error {
	s.gateway.Users = map[string]gateway.User{}
	err := n.each("users by their names", func(name string, value node) error {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
			return value.errorf("a user called %.40q: want a name without spaces", name)
		}
		var u gateway.User
		err := value.fields(map[string]func(node) error{
			"password_sha256": func(n node) error { return readHashes(n, &u.Passwords) },
			"commands":        func(n node) error { return readClasses(n, &u.Commands) },
			"disabled":        yesOrNo(&u.Disabled),
		})
		s.gateway.Users[name] = u
		return err
	})
	if err == nil && len(s.gateway.Users) == 0 {
		return n.errorf("no user: want one at least, or the key left out")
	}
	return err
}

// readHashes takes one hash or a list of them. What stands there may be a
// password that somebody did not hash: no error shows it.
func readHashes(n node, into *[]string) error {
	var list []string
	err := text(new(string))(n)
	if n.resolved().Kind == yaml.SequenceNode {
		err = texts(&list)(n)
	} else if err == nil {
		list = []string{""}
		err = text(&list[0])(n)
	}
	for i, hash := range list {
		raw, bad := hex.DecodeString(hash)
		if bad != nil || len(raw) != 32 {
			return n.errorf("number %d is no SHA-256 hash (it is not shown, since it may be a password): want 64 hex digits, as respool password prints them", i+1)
		}
		list[i] = hex.EncodeToString(raw)
	}
	if err == nil && len(list) == 0 {
		return n.errorf("an empty list: want one hash at least, or the key left out, so that no password is needed")
	}
	*into = list
	return err
}

// commandClasses are what a user's commands may be.
var commandClasses = []string{"read", "write", "pubsub", "blocking", "scripting", "admin", "all"}

func readClasses(n node, into *[]string) error {
	if n.resolved().Kind != yaml.SequenceNode {
		return n.wrong("a list of " + strings.Join(commandClasses, ", "))
	}
	if err := texts(into)(n); err != nil {
		return err
	}
	for _, class := range *into {
		if !slices.Contains(commandClasses, class) {
			return n.errorf("%.40q: want one of %s", class, strings.Join(commandClasses, ", "))
		}
	}
	if len(*into) == 0 {
		return n.errorf("an empty list: want one of %s at least, or the key left out", strings.Join(commandClasses, ", "))
	}
	return nil
}

// version reads one that clients can take apart.
func version(into *string) func(node) error {
	return func(n node) error {
		if err := text(into)(n); err != nil {
			return err
		}
		if !aVersion.MatchString(*into) {
			return n.wrong("a version such as 7.2.0")
		}
		return nil
	}
}

var aVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)

// orNone lets none stand for 0, which is no limit.
func orNone[T ~int | ~int64](into *T, read func(node) error, want string) func(node) error {
	return func(n node) error {
		if n.resolved().Value == "none" {
			*into = 0
			return nil
		}
		if read(n) != nil {
			return n.wrong(want)
		}
		return nil
	}
}

// leastTime is the least that a time may be.
const leastTime = time.Millisecond

func span(into *time.Duration) func(node) error {
	return func(n node) error {
		if lasting(into)(n) != nil || *into < leastTime {
			return n.wrong("a time such as 30s")
		}
		return nil
	}
}

// size reads bytes, or a number with KiB, MiB or GiB.
func size[T ~int | ~int64](into *T, least int64) func(node) error {
	return func(n node) error {
		digits, unit := n.resolved().Value, int64(1)
		for suffix, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
			if d, ok := strings.CutSuffix(digits, suffix); ok {
				digits, unit = d, bytes
				break
			}
		}
		i, err := strconv.ParseInt(digits, 10, 64)
		if n.resolved().Kind != yaml.ScalarNode || err != nil || i > math.MaxInt/unit || i*unit < least {
			return n.wrong(fmt.Sprintf("a size such as 8MiB, %d bytes at least", least))
		}
		*into = T(i * unit)
		return nil
	}
}

func yesOrNo(into *bool) func(node) error {
	return func(n node) error {
		v := n.resolved()
		if v.Kind != yaml.ScalarNode || v.Value != "true" && v.Value != "false" {
			return n.wrong("true or false")
		}
		*into = v.Value == "true"
		return nil
	}
}

// onFailure reads what becomes of a client whose command the server has not answered.
func onFailure(closes *bool) func(node) error {
	return func(n node) error {
		v := n.resolved()
		if v.Kind != yaml.ScalarNode || v.Value != "error" && v.Value != "close" {
			return n.wrong("error or close")
		}
		*closes = v.Value == "close"
		return nil
	}
}
