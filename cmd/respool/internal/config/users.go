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

// usersField is the key users.
func (s *Serve) usersField() yamlnode.Field {
	user := userFields(&gateway.User{}).Schema()
	return yamlnode.Field{
		Read:   s.readUsers,
		Schema: yamlnode.Named(user),
		Value: func() any {
			if s.Gateway.Users == nil {
				return nil
			}
			users := map[string]any{}
			for name, u := range s.Gateway.Users {
				users[name] = userFields(&u).Values()
			}
			return users
		},
	}
}

// userFields are the keys of one user.
func userFields(u *gateway.User) yamlnode.Fields {
	return yamlnode.Fields{
		"password_sha256": {
			Read:   func(n yamlnode.Node) error { return readHashes(n, &u.Passwords) },
			Schema: hashSchema.Or(yamlnode.ListOf(hashSchema)),
			Value: func() any { // a hash without a salt is as good as a weak password
				hidden := slices.Repeat([]string{yamlnode.Hidden}, len(u.Passwords))
				if len(hidden) == 0 {
					return nil
				}
				return hidden
			},
		},
		"commands": {
			Read:   func(n yamlnode.Node) error { return readClasses(n, &u.Commands) },
			Schema: yamlnode.ListOf(yamlnode.OneWord(gateway.ClassNames()...)),
			Value:  yamlnode.Texts(&u.Commands).Value,
		},
		"disabled":            yamlnode.Bool(&u.Disabled),
		"max_clients":         yamlnode.Int(&u.Limits.MaxClients, 1, yamlnode.MaxCount),
		"max_connections":     yamlnode.Int(&u.Limits.MaxConnections, 1, yamlnode.MaxCount),
		"commands_per_second": yamlnode.Int(&u.Limits.Rate.Commands, 1, yamlnode.MaxCount),
		"bytes_per_second":    yamlnode.Size(&u.Limits.Rate.Bytes, 1<<10),
	}
}

// hashSchema is that of a text too, since ${NAME} may hold the hash.
var hashSchema = yamlnode.Matching(`^[0-9A-Fa-f]{64}$`).Or(yamlnode.Matching(`\$\{`))

func (s *Serve) readUsers(n yamlnode.Node) error {
	s.Gateway.Users = map[string]gateway.User{}
	err := n.Each("a mapping of user names to settings", func(name string, value yamlnode.Node) error {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
			return value.Errorf("user name %.40q: want a name without spaces", name)
		}
		var u gateway.User
		err := value.Fields(userFields(&u))
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
	err := yamlnode.Text(new(string)).Read(n)
	if n.Resolved().Kind == yaml.SequenceNode {
		err = yamlnode.Texts(&list).Read(n)
	} else if err == nil {
		list = []string{""}
		err = yamlnode.Text(&list[0]).Read(n)
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
	if err := yamlnode.Texts(into).Read(n); err != nil {
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
