package gateway_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// newerClients are commands that newer clients send when they connect or query the server. Servers that lack a command
// refuse it.
var newerClients = []struct {
	command string
	is      string // prefixes of a reply that is not an error, separated by spaces
	mine    bool   // the gateway executes the command for all versions of the server
}{
	{"CLIENT MAINT_NOTIFICATIONS ON", "+OK", false},
	{"CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", "+OK", false},
	{"CLIENT MAINT_NOTIFICATIONS OFF", "+OK", false},
	{"CLIENT SETINFO LIB-NAME redis-py", "+OK", true},
	{"CLIENT SETINFO LIB-VER 7.1.0", "+OK", true},
	{"CLIENT SETINFO LIB-NAME jedis(valkey-glide_v2)", "+OK", true},
	{"CLIENT NO-TOUCH ON", "+OK", true},
	{"CLIENT NO-TOUCH OFF", "+OK", true},
	{"CLIENT NO-EVICT OFF", "+OK", true},
	{"CLIENT CAPA redirect", "+OK", true},
	{"CLIENT IMPORT-SOURCE ON", "+OK", false},
	{"CLIENT IMPORT-SOURCE OFF", "+OK", false},
	{"CLIENT TRACKING ON OPTIN", "+OK", false},
	{"CLIENT CACHING YES", "+OK", false},
	{"CLIENT TRACKING OFF", "+OK", false},
	{"CLIENT TRACKINGINFO", "* %", false},
	{"CLIENT GETREDIR", ":", false},
	{"CLIENT ID", ":", false},
	{"CLIENT INFO", "$ =", false},
	{"CLIENT LIST", "$ =", false},
	{"CLIENT LIST ID 1 2 3", "$ =", false},
	{"CLIENT LIST USER default", "$ =", false},
	{"CLIENT LIST LADDR 127.0.0.1:1", "$ =", false},
	{"CLIENT LIST SKIPME no", "$ =", false},
	{"CLIENT LIST MAXAGE 1000", "$ =", false},
	{"CLIENT LIST TYPE normal SKIPME yes MAXAGE 10", "$ =", false},
	{"HELLO", "* %", false},
	{"HELLO 4", "", false},
	{"HELLO 3 SETNAME named", "%", false},
	{"HELLO 3 AUTH default any SETNAME named", "%", false},
	{"HELLO 3 AUTH nobody wrong SETNAME named", "", false},
	{"READONLY", "+OK", false},
	{"READWRITE", "+OK", false},
	{"ASKING", "+OK", false},
	{"CLUSTER SHARDS", "*", false},
	{"CLUSTER SLOTS", "*", false},
	{"CLUSTER NODES", "$ =", false},
	{"CLUSTER INFO", "$ =", false},
	{"CLUSTER MYID", "$", false},
	{"COMMAND", "* ~", false},
	{"COMMAND COUNT", ": *", false},
	{"COMMAND DOCS", "* %", false},
	{"COMMAND DOCS GET NOSUCH", "* %", false},
	{"COMMAND INFO GET NOSUCH", "*", false},
	{"SENTINEL MASTERS", "*", false},
	{"SENTINEL GET-MASTER-ADDR-BY-NAME mymaster", "*", false},
	{"INFO SERVER", "$ =", false},
	{"LATENCY LATEST", "*", false},
	{"MODULE LIST", "*", false},
	{"FUNCTION LIST", "*", false},
	{"ACL WHOAMI", "$", false},
	{"CONFIG GET maxmemory", "* %", false},
	{"NOSUCH CLIENT THING", "", false},
}

// notThere are the error codes that clients accept for a missing or forbidden command.
func notThere(reply string) bool {
	for _, code := range []string{"-ERR ", "-NOPERM ", "-NOPROTO ", "-WRONGPASS ", "-NOAUTH "} {
		if strings.HasPrefix(reply, code) {
			return true
		}
	}
	return false
}

func begins(reply, kinds string) bool {
	for kind := range strings.FieldsSeq(kinds) {
		if strings.HasPrefix(reply, kind) {
			return true
		}
	}
	return false
}

// Every command of a newer client gets one reply, either of the kind that its server sends or an error for a missing
// command. The connection works afterwards.
func TestCommandsOfNewerClientsGetOneReply(t *testing.T) {
	servers := map[string]string{"live": redistest.Start(t, redistest.Config{}).URL()}
	for _, v := range fakeserver.Versions {
		s := fakeserver.Start(t, fakeserver.Config{Version: v})
		servers[v.String()] = (&url.URL{Scheme: "redis", Host: s.Addr()}).String()
	}
	for name, at := range servers {
		for _, passThrough := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, pass-through %t", name, passThrough), func(t *testing.T) {
				h := open(t, at+"?max_connections=6", gateway.Config{PassThrough: passThrough})
				for _, proto := range []int{2, 3} {
					hello := fmt.Sprint("HELLO ", proto)
					one := h.dial()
					one.ask(hello)
					direct := h.dialTo("tcp", strings.TrimPrefix(at, "redis://"), nil)
					direct.ask(hello)
					for i, c := range newerClients {
						alone := h.dial() // checks the state that the command leaves behind
						alone.ask(hello)
						own := direct.ask(c.command)
						if strings.HasPrefix(c.command, "HELLO 3") {
							direct.ask(hello)
						}
						for _, p := range []*peer{one, alone} {
							reply := p.ask(c.command)
							if !notThere(reply) && !begins(reply, c.is) {
								t.Errorf("RESP%d: %s: %.200q", proto, c.command, reply)
							}
							if reply[0] != '-' && own[0] != reply[0] && !c.mine && name == "live" { // the other servers lack many commands
								t.Errorf("RESP%d: %s: %.100q: the server gives %.100q", proto, c.command, reply, own)
							}
							if strings.HasPrefix(c.command, "HELLO 3") {
								p.ask(hello)
							}
							// One reply for each command, in order, and no more.
							value := fmt.Sprintf("%s-%d-%d", c.command[:3], proto, i)
							p.send("SET key "+value, "GET key", "ECHO "+value)
							p.want("+OK|", bulk(value), bulk(value))
						}
						alone.Close()
					}
				}
			})
		}
	}
}
