package fakeserver

import (
	"fmt"
	"strings"
)

// listed is the connection's own line of CLIENT LIST, with the fields of the version.
func (c *Conn) listed() string {
	v := c.s.cfg.Version
	var b strings.Builder
	field := func(since bool, name string, value any) {
		if since {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%s=%v", name, value)
		}
	}
	field(true, "id", c.ID)
	field(true, "addr", c.conn.RemoteAddr())
	field(true, "laddr", c.conn.LocalAddr())
	field(true, "fd", 8+c.ID)
	field(true, "name", c.name)
	field(true, "age", 0)
	field(true, "idle", 0)
	field(true, "flags", "N")
	field(v.valkey() && v.since(8, 1), "capa", "")
	field(true, "db", c.db)
	field(true, "sub", 0)
	field(true, "psub", 0)
	field(v.since(7, 0), "ssub", 0)
	field(true, "multi", -1)
	field(v.since(7, 4), "watch", 0)
	field(true, "qbuf", 26)
	field(true, "qbuf-free", 16360)
	field(true, "argv-mem", 10)
	field(v.since(7, 0), "multi-mem", 0)
	field(v.since(7, 0), "rbs", 16392)
	field(v.since(7, 0), "rbp", 16392)
	field(true, "obl", 0)
	field(true, "oll", 0)
	field(true, "omem", 0)
	field(true, "tot-mem", 33602)
	field(true, "events", "r")
	field(true, "cmd", "client|list")
	field(true, "user", c.user)
	field(true, "redir", -1)
	field(v.since(7, 0), "resp", c.protocol)
	field(v.since(7, 2), "lib-name", "")
	field(v.since(7, 2), "lib-ver", "")
	field(!v.valkey() && v.since(8, 0), "io-thread", 0)
	field(v.valkey() || v.since(8, 2), "tot-net-in", 26)
	field(v.valkey() || v.since(8, 2), "tot-net-out", 0)
	field(v.valkey() || v.since(8, 2), "tot-cmds", 0)
	return b.String() + "\n"
}

// list is CLIENT LIST. The lines of connections other than asker hold only the constant fields.
func (s *Server) list(asker *Conn) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := asker.listed()
	for c := range s.conns {
		if c != asker {
			lines += fmt.Sprintf("id=%d addr=%v laddr=%v flags=N\n", c.ID, c.conn.RemoteAddr(), c.conn.LocalAddr())
		}
	}
	return lines
}

// info is INFO, with the version fields of Redis or Valkey.
func (s *Server) info() string {
	v := s.cfg.Version
	lines := []string{"# Server"}
	if v.valkey() {
		lines = append(lines, "redis_version:7.2.4", "server_name:valkey", "valkey_version:"+v.Number, "valkey_release_stage:ga", "server_mode:"+s.mode())
	} else {
		lines = append(lines, "redis_version:"+v.Number, "redis_mode:"+s.mode())
	}
	role, enabled := "role:master", "cluster_enabled:0"
	if s.member != nil {
		enabled = "cluster_enabled:1"
	}
	if s.helloRole() == "replica" {
		role = "role:slave"
	}
	lines = append(lines, "run_id:0123456789abcdef0123456789abcdef01234567", "", "# Clients",
		fmt.Sprintf("connected_clients:%d", s.Open()), "maxclients:10000", "", "# Replication", role, "", "# Cluster", enabled, "")
	return strings.Join(lines, "\r\n")
}
