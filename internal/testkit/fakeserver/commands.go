package fakeserver

import (
	"fmt"
	"strconv"
	"strings"
)

const ok = "+OK\r\n"

// Reply returns the server's own reply to a command and applies the command to the connection.
func (c *Conn) Reply(args []string) string {
	name := strings.ToUpper(args[0])
	switch name {
	case "HELLO":
		return c.hello(args)
	case "AUTH":
		return c.auth(args)
	case "QUIT":
		c.Close()
		return ok
	case "RESET":
		c.protocol, c.user, c.db, c.name, c.in = 2, "default", 0, "", c.s.cfg.Password == ""
		return "+RESET\r\n"
	}
	if !c.in {
		return NoAuth
	}
	least, reply := c.plain(name)
	switch {
	case reply == nil:
		return c.s.cfg.Version.unknownCommand(args)
	case len(args) < least:
		return arity(args[0])
	}
	if refusal := c.redirect(name, args); refusal != "" {
		return refusal
	}
	return reply(args)
}

// plain returns the function that runs a command, and the least number of its words.
func (c *Conn) plain(name string) (least int, reply func(args []string) string) {
	switch name {
	case "PING":
		return 1, c.ping
	case "ECHO":
		return 2, func(args []string) string { return Bulk(args[1]) }
	case "SELECT":
		return 2, c.selectDB
	case "CLIENT":
		return 2, c.client
	case "INFO":
		return 1, func([]string) string { return Bulk(c.s.info()) }
	case "ROLE":
		return 1, func([]string) string { return c.s.role() }
	case "COMMAND":
		return 1, func([]string) string { return Array() }
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE":
		return 2, c.confirm
	case "READONLY", "READWRITE", "ASKING":
		return 1, c.clusterMode
	case "CLUSTER":
		return 2, c.cluster
	}
	return c.data(name)
}

// data is plain for the commands that use keys.
func (c *Conn) data(name string) (least int, reply func(args []string) string) {
	s := c.s.store
	locked := func(run func(args []string) string) func([]string) string {
		return func(args []string) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			return run(args)
		}
	}
	switch name {
	case "GET":
		return 2, locked(func(args []string) string {
			if v, has := s.data[args[1]]; has {
				return Bulk(v)
			}
			return c.Nil()
		})
	case "SET":
		return 3, locked(func(args []string) string {
			s.data[args[1]] = args[2]
			return ok
		})
	case "INCR":
		return 2, locked(func(args []string) string {
			n, err := strconv.Atoi(s.data[args[1]])
			if err != nil && s.data[args[1]] != "" {
				return "-ERR value is not an integer or out of range\r\n"
			}
			s.data[args[1]] = strconv.Itoa(n + 1)
			return Int(n + 1)
		})
	case "EXISTS":
		return 2, locked(func(args []string) string {
			if _, has := s.data[args[1]]; has {
				return Int(1)
			}
			return Int(0)
		})
	case "DEL":
		return 2, locked(func(args []string) string {
			_, has := s.data[args[1]]
			delete(s.data, args[1])
			if has {
				return Int(1)
			}
			return Int(0)
		})
	}
	return 0, nil
}

func (c *Conn) ping(args []string) string {
	if len(args) > 1 {
		return Bulk(args[1])
	}
	return "+PONG\r\n"
}

func (c *Conn) selectDB(args []string) string {
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 0 || n > 15 {
		return "-ERR DB index is out of range\r\n"
	}
	c.db = n
	return ok
}

// confirm replies to a subscription or its end: one confirmation for each name, with the number of
// subscriptions left.
func (c *Conn) confirm(args []string) string {
	kind, text := "*3\r\n", ""
	if c.protocol == 3 {
		kind = ">3\r\n"
	}
	verb := strings.ToLower(args[0])
	if strings.Contains(verb, "unsub") && c.s.cfg.Version == Valkey80 && len(c.subscribed)+len(c.shards) == 0 {
		return "-NOSUB '" + verb + "' command executed not in subscribed mode\r\n" // fixed in 8.0.2
	}
	names := c.subscribed
	if verb == "ssubscribe" || verb == "sunsubscribe" {
		names = c.shards
	}
	for _, name := range args[1:] {
		key := name
		if verb[0] == 'p' {
			key = "pattern " + name
		}
		names[key] = struct{}{}
		if strings.Contains(verb, "unsub") {
			delete(names, key)
		}
		text += kind + Bulk(verb) + Bulk(name) + Int(len(names))
	}
	return text
}

// auth replies to AUTH like the version. Some versions drop a refusal while other replies are pending.
func (c *Conn) auth(args []string) string {
	user, password := "default", args[len(args)-1]
	switch len(args) {
	case 2:
		if c.s.admits("default", "") {
			return "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n"
		}
	case 3:
		user = args[1]
	case 1:
		return arity(args[0])
	default:
		return "-ERR syntax error\r\n"
	}
	if !c.s.admits(user, password) {
		return c.refusedAuth()
	}
	c.user, c.in = user, true
	return ok
}

func (c *Conn) refusedAuth() string {
	if c.Pending() && c.s.cfg.Version.dropsRefusedAuth() {
		return ""
	}
	return WrongPass
}

func (c *Conn) hello(args []string) string {
	switch c.s.cfg.Hello {
	case "":
	case HelloSilent:
		return ""
	case HelloClosed:
		c.Close()
		return ""
	default:
		return c.s.cfg.Hello
	}
	protocol := c.protocol
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		switch {
		case err != nil:
			return "-ERR Protocol version is not an integer or out of range\r\n"
		case n < 2 || n > 3:
			return "-NOPROTO unsupported protocol version\r\n"
		}
		protocol = n
	}
	name := c.name
	for i := 2; i < len(args); i++ {
		left := len(args) - 1 - i
		switch option := strings.ToUpper(args[i]); {
		case option == "AUTH" && left >= 2:
			if !c.s.admits(args[i+1], args[i+2]) {
				return c.refusedAuth()
			}
			c.user, c.in = args[i+1], true
			i += 2
		case option == "SETNAME" && left >= 1:
			name = args[i+1]
			i++
		default:
			return fmt.Sprintf("-ERR Syntax error in HELLO option '%s'\r\n", args[i])
		}
	}
	if !c.in {
		return "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> " +
			"option can be used to authenticate the client and select the RESP protocol version at the same time\r\n"
	}
	c.protocol, c.name = protocol, name
	v := c.s.cfg.Version
	return c.Map(Bulk("server"), Bulk(v.Name), Bulk("version"), Bulk(v.Number), Bulk("proto"), Int(c.protocol), Bulk("id"), Int(c.ID),
		Bulk("mode"), Bulk(c.s.mode()), Bulk("role"), Bulk(c.s.helloRole()), Bulk("modules"), c.modules())
}

// modules returns the modules that the version contains.
func (c *Conn) modules() string {
	if v := c.s.cfg.Version; v.valkey() || !v.since(8, 0) {
		return Array()
	}
	return Array(c.Map(Bulk("name"), Bulk("vectorset"), Bulk("ver"), Int(1), Bulk("path"), Bulk(""), Bulk("args"), Array()))
}

func (c *Conn) client(args []string) string {
	v := c.s.cfg.Version
	switch sub := strings.ToUpper(args[1]); sub {
	case "ID":
		return Int(c.ID)
	case "GETNAME":
		if c.name == "" {
			return c.Nil()
		}
		return Bulk(c.name)
	case "SETNAME":
		c.name = args[len(args)-1]
		return ok
	case "SETINFO":
		if !v.since(7, 2) {
			break
		}
		return ok
	case "INFO":
		return Bulk(c.listed())
	case "LIST":
		return Bulk(c.s.list(c))
	}
	return v.unknownSubcommand(args[0], args[1])
}
