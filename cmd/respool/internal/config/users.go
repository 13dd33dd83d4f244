package config

import (
	"encoding/hex"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

func (s *Serve) readUsers(n yamlnode.Node) error {
	s.Gateway.Users = map[string]gateway.User{}
	err := n.Each("a mapping of user names to settings", func(name string, value yamlnode.Node) error {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
			return value.Errorf("user name %.40q: want a name without spaces", name)
		}
		var u gateway.User
		err := value.Fields(map[string]func(yamlnode.Node) error{
			"password_sha256": func(n yamlnode.Node) error { return readHashes(n, &u.Passwords) },
			"commands":        func(n yamlnode.Node) error { return readClasses(n, &u.Commands) },
			"disabled":        yamlnode.Bool(&u.Disabled),
		})
		s.Gateway.Users[name] = u
		return err
	})
	if err == nil && len(s.Gateway.Users) == 0 {
		return n.Errorf("no user: want at least one, or omit the key")
	}
	return err
}

// readHashes reads one hash or a list of hashes. A value may be a password that somebody forgot to
// hash, so errors do not show it.
func readHashes(n yamlnode.Node, into *[]string) error {
	var list []string
	err := yamlnode.Text(new(string))(n)
	if n.Resolved().Kind == yaml.SequenceNode {
		err = yamlnode.Texts(&list)(n)
	} else if err == nil {
		list = []string{""}
		err = yamlnode.Text(&list[0])(n)
	}
	for i, hash := range list {
		raw, bad := hex.DecodeString(hash)
		if bad != nil || len(raw) != 32 {
			return n.Errorf("number %d is not a SHA-256 hash (hidden, since it may be a password): want 64 hex digits, as respool password prints", i+1)
		}
		list[i] = hex.EncodeToString(raw)
	}
	if err == nil && len(list) == 0 {
		return n.Errorf("an empty list: want at least one hash, or omit the key to require no password")
	}
	*into = list
	return err
}

func readClasses(n yamlnode.Node, into *[]string) error {
	if n.Resolved().Kind != yaml.SequenceNode {
		return n.Want("a list of " + strings.Join(gateway.ClassNames(), ", "))
	}
	if err := yamlnode.Texts(into)(n); err != nil {
		return err
	}
	for _, class := range *into {
		if !slices.Contains(gateway.ClassNames(), class) {
			return n.Errorf("%.40q: want one of %s", class, strings.Join(gateway.ClassNames(), ", "))
		}
	}
	if len(*into) == 0 {
		return n.Errorf("an empty list: want at least one of %s, or omit the key", strings.Join(gateway.ClassNames(), ", "))
	}
	return nil
}
