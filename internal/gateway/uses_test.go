package gateway_test

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// uses is the number of uses of each command.
const uses = 4

// commandsOf lists the commands of the table and of a server, with the least number of arguments.
func commandsOf(t *testing.T, c *respool.Client) (lines []string) {
	seen := map[string]bool{}
	add := func(name string, arity int) {
		words := strings.Fields(strings.ToUpper(strings.ReplaceAll(name, "|", " ")))
		for n := len(words); n < max(arity, -arity); n++ {
			words = append(words, "1")
		}
		if line := strings.Join(words, " "); !seen[words[0]+" "+name] && harmless(words) {
			seen[words[0]+" "+name] = true
			lines = append(lines, line)
		}
	}
	for info := range command.All() {
		if !info.Container() {
			add(info.Name, info.Arity)
		}
	}
	var told func(list []respool.Reply)
	told = func(list []respool.Reply) {
		for _, e := range list {
			fields, err := e.Array()
			if err != nil || len(fields) < 2 {
				continue
			}
			name, _ := fields[0].Text()
			arity, _ := fields[1].Int64()
			var subs []respool.Reply
			if len(fields) > 9 {
				subs, _ = fields[9].Array()
			}
			if told(subs); len(subs) == 0 {
				add(name, int(arity))
			}
		}
	}
	list, err := c.Do(context.Background(), "COMMAND").Array()
	if err != nil {
		t.Fatal(err)
	}
	told(list)
	return lines
}

// harmless omits commands that affect the server for others, that block, or that end the client's connection.
func harmless(words []string) bool {
	switch words[0] {
	case "SHUTDOWN", "DEBUG", "FAILOVER", "REPLICAOF", "SLAVEOF", "BGREWRITEAOF", "BGSAVE", "SAVE", "MODULE", "QUIT", "CONFIG", "MONITOR", "SYNC", "PSYNC",
		"HOST:", "POST", "MIGRATE", "PFDEBUG", "PFSELFTEST", "WAIT", "WAITAOF":
		return false
	case "CLIENT", "ACL", "CLUSTER", "SCRIPT", "SENTINEL", "FUNCTION":
		return !strings.Contains(" KILL PAUSE REPLY SETUSER DELUSER LOAD SAVE RESET FAILOVER DEBUG ", " "+words[1]+" ")
	}
	return true
}

// exempt are commands that need a dedicated connection by design: they block, change the connection, or no connection
// of a pool may carry them.
func exempt(line string) bool {
	var args [][]byte
	for _, w := range strings.Fields(line) {
		args = append(args, []byte(w))
	}
	_, class := command.ClassifyBytes(args)
	return class == command.Blocking || class == command.Stateful || class == command.Refused
}

// No command opens a connection for each use, whether the table, the server or neither knows it.
func TestNoCommandOpensAConnectionForEachUse(t *testing.T) {
	s := redistest.Start(t, redistest.Config{
		Args:  []string{"--rename-command", "TOUCH", "DOC.TOUCH", "--rename-command", "LOLWUT", "DOC.LOLWUT", "--rename-command", "DBSIZE", "DOC.SIZE"},
		Users: []string{"shy on >secret ~* &* +@all -command"},
	})
	for _, user := range []string{"", "shy:secret@"} {
		lines := more
		if user == "" {
			lines = append(serverCommands(t, s), more...)
		}
		for _, protocol := range []string{"2", "3"} {
			opt, err := respool.ParseURL("redis://" + user + s.PlainAddr() + "?max_connections=4&lanes=1&protocol=" + protocol)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("the client/RESP"+protocol+"/"+user, func(t *testing.T) { usesOfClient(t, s, opt, lines) })
			t.Run("the gateway/RESP"+protocol+"/"+user, func(t *testing.T) { usesOfGateway(t, s, user, protocol, lines) })
		}
	}
}

// more are commands with names that the table lacks.
var more = []string{"DOC.TOUCH k", "DOC.LOLWUT", "DOC.SIZE", "DOC.NOSUCH k"}

func usesOfClient(t *testing.T, s *redistest.Server, opt respool.Options, lines []string) {
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	// a leased connection and a lane
	conn, err := c.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Do(context.Background(), "GET", "k").Err()
	conn.Release()
	for _, line := range lines {
		if exempt(line) {
			continue
		}
		var args []any
		for _, w := range strings.Fields(line) {
			args = append(args, w)
		}
		before := opened(s)
		for range uses {
			_ = c.Do(context.Background(), args...).Err()
		}
		if n := opened(s) - before; n > 1 {
			t.Errorf("%s: %d connections for %d uses", line, n, uses)
		}
	}
}

// serverCommands queries a server as a user with the permission for it.
func serverCommands(t *testing.T, s *redistest.Server) []string {
	c, err := respool.New(respool.Options{Addr: s.PlainAddr()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	return commandsOf(t, c)
}

func usesOfGateway(t *testing.T, s *redistest.Server, user, protocol string, commands []string) {
	h := open(t, "redis://"+user+s.PlainAddr()+"?max_connections=4&lanes=1", gateway.Config{Admin: true})
	p := h.dial()
	p.ask("HELLO " + protocol)
	p.ask("GET k")
	for _, line := range commands {
		if exempt(line) {
			continue
		}
		for _, multi := range []bool{false, true} {
			before := opened(s)
			for i := range uses {
				lines := []string{line}
				if multi {
					lines = []string{"MULTI", line, "EXEC"}
				}
				end := "end" + strconv.Itoa(i)
				p.send(append(lines, "ECHO "+end)...)
				for {
					text, err := p.tryFrame()
					if err != nil {
						t.Fatalf("%s: %v", line, err)
					}
					if bytes.HasSuffix([]byte(text), []byte(end+"\r\n")) {
						break
					}
				}
			}
			if n := opened(s) - before; n > 1 {
				t.Errorf("%s in MULTI %t: %d connections for %d uses", line, multi, n, uses)
			}
		}
	}
}
