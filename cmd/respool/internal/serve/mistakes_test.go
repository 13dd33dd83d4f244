package serve

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

// inServe is the place of most mistakes.
const inServe = "FILE:2: serve."

// serveMistakes maps configurations to their exact errors.
var serveMistakes = map[string]string{
	"":                                       "FILE is empty: want the keys url, every, rules, tell and others (see docs/operate.md)",
	"every: 5s":                              "FILE: url is missing: want the server, or the service with its sentinels (the embedded server takes no configuration)",
	"url: redis://x\nserve: 5":               `FILE:2: serve: "5": want the keys admin, admin_clients, announce, buffers, client_bytes_per_second, client_commands_per_second, credentials, drain, face, hot_keys, idle_timeout, input_buffer, limit_wait, listen, loops, max_clients, max_clients_per_address, need_auth, on_failure, order, output_buffer, pass_through, pipeline, request_timeout, server_version, slow_threshold, takeover, url, users, write_timeout`,
	"url: redis://x\nserve: {max_client: 5}": inServe + "max_client: unknown key: want one of admin, admin_clients, announce, buffers, client_bytes_per_second, client_commands_per_second, credentials, drain, face, hot_keys, idle_timeout, input_buffer, limit_wait, listen, loops, max_clients, max_clients_per_address, need_auth, on_failure, order, output_buffer, pass_through, pipeline, request_timeout, server_version, slow_threshold, takeover, url, users, write_timeout",
	"url: redis://x\nserve: {url: 'http://:${TEST_SECRET}@x'}":                                            inServe + "url: URL: scheme \"http\" is not supported: want redis, rediss or unix, or one of the first two with +sentinel or +cluster",
	"url: redis://x\nserve: {max_clients: 0}":                                                             inServe + `max_clients: "0": want a whole number from 1 to 10000000`,
	"url: redis://x\nserve: {max_clients: 1.5}":                                                           inServe + `max_clients: "1.5": want a whole number from 1 to 10000000`,
	"url: redis://x\nserve: {max_clients_per_address: 0}":                                                 inServe + `max_clients_per_address: "0": want a whole number, or none`,
	"url: redis://x\nserve: {admin_clients: many}":                                                        inServe + `admin_clients: "many": want a whole number from 1 to 10000000`,
	"url: redis://x\nserve: {input_buffer: 8MB}":                                                          inServe + `input_buffer: "8MB": want a size such as 8MiB, at least 1024 bytes`,
	"url: redis://x\nserve: {output_buffer: 1}":                                                           inServe + `output_buffer: "1": want a size such as 8MiB, at least 1024 bytes`,
	"url: redis://x\nserve: {buffers: -1GiB}":                                                             inServe + `buffers: "-1GiB": want a size such as 8MiB, at least 1048576 bytes`,
	"url: redis://x\nserve: {buffers: 9000000000GiB}":                                                     inServe + `buffers: "9000000000GiB": want a size such as 8MiB, at least 1048576 bytes`,
	"url: redis://x\nserve: {buffers: 1MiB, output_buffer: 2MiB}":                                         "FILE:2: serve: buffers is 1048576 bytes, output_buffer is 2097152: want buffers, the total of all clients, to be at least output_buffer",
	"every: 5s\nurl: redis://:${TEST_SECRET}@x?max_conections=4":                                          `FILE:2: url: URL key "max_conections" is unknown: did you mean max_connections?`,
	"url: redis://x\nserve: {buffers: 4MiB}":                                                              "FILE:2: serve: buffers is 4194304 bytes, output_buffer is 8388608: want buffers, the total of all clients, to be at least output_buffer",
	"url: redis://x\nserve: {server_version: '7'}":                                                        inServe + `server_version: "7": want a version such as 7.2.0`,
	"url: redis://x\nserve: {pipeline: [1]}":                                                              inServe + `pipeline: a list: want a whole number from 1 to 10000000`,
	"url: redis://x\nserve: {idle_timeout: 30}":                                                           inServe + `idle_timeout: "30": want a time such as 30s, or none`,
	"url: redis://x\nserve: {request_timeout: none}":                                                      inServe + `request_timeout: "none": want a time such as 30s`,
	"url: redis://x\nserve: {write_timeout: 1ns}":                                                         inServe + `write_timeout: "1ns": want a time such as 30s`,
	"url: redis://x\nserve: {drain: -1s}":                                                                 inServe + `drain: "-1s": want a time such as 30s`,
	"url: redis://x\nserve: {admin: maybe}":                                                               inServe + `admin: "maybe": want true or false`,
	"url: redis://x\nserve: {face: both}":                                                                 inServe + `face: "both": want single or cluster`,
	"url: redis://x\nserve: {order: any}":                                                                 inServe + `order: "any": want slot or strict`,
	"url: redis://x\nserve: {face: cluster}":                                                              "gateway: the face is cluster, but the server is not a Redis Cluster: want a URL redis+cluster://, or the face single",
	"url: redis+cluster://x\nserve: {announce: 'h:1'}":                                                    "gateway: announce is set, but the face is single: want the face cluster, or no announce",
	"url: redis+cluster://x\nserve: {face: cluster, announce: h}":                                         `gateway: announce is "h": want host:port, as clients reach the gateway`,
	"url: redis://x\nserve: {on_failure: 5}":                                                              inServe + `on_failure: "5": want error or close`,
	"url: redis://x\nserve: {need_auth: true}":                                                            "FILE:2: serve: need_auth without pass_through: want both; users of the gateway always need AUTH",
	"url: redis://x\nserve: {pass_through: true, users: {a: {}}}":                                         "FILE:2: serve: users and pass_through: want only one, since either the gateway or Redis has the users",
	"url: redis://x\nserve: {users: {}}":                                                                  inServe + `users: no user: want at least one, or omit the key`,
	"url: redis://x\nserve: {users: [app]}":                                                               inServe + `users: a list: want a mapping of user names to settings`,
	"url: redis://x\nserve: {users: {'a b': {}}}":                                                         inServe + `users.a b: user name "a b": want a name without spaces`,
	"url: redis://x\nserve: {users: {app: {password: x}}}":                                                inServe + `users.app.password: unknown key: want one of bytes_per_second, commands, commands_per_second, disabled, max_clients, max_connections, password_sha256`,
	"url: redis://x\nserve: {users: {app: {password_sha256: hushhush}}}":                                  inServe + "users.app.password_sha256: number 1 is not a SHA-256 hash (hidden, since it may be a password): want 64 hex digits, as respool password prints",
	"url: redis://x\nserve: {users: {app: {password_sha256: [" + tooltest.HashOfSecret + ", hushhush]}}}": inServe + "users.app.password_sha256: number 2 is not a SHA-256 hash (hidden, since it may be a password): want 64 hex digits, as respool password prints",
	"url: redis://x\nserve: {users: {app: {password_sha256: []}}}":                                        inServe + "users.app.password_sha256: an empty list: want at least one hash, or omit the key to require no password",
	"url: redis://x\nserve: {users: {app: {password_sha256: }}}":                                          inServe + "users.app.password_sha256: no value: want text",
	"url: redis://x\nserve: {users: {app: {commands: [reads]}}}":                                          inServe + `users.app.commands: "reads": want one of read, write, pubsub, blocking, scripting, admin, all`,
	"url: redis://x\nserve: {users: {app: {commands: read}}}":                                             inServe + `users.app.commands: "read": want a list of read, write, pubsub, blocking, scripting, admin, all`,
	"url: redis://x\nserve: {users: {app: {disabled: 1}}}":                                                inServe + `users.app.disabled: "1": want true or false`,
	"url: redis://x\nserve: {listen: 127.0.0.1:6380}":                                                     inServe + `listen: "127.0.0.1:6380": want a list of addresses such as 127.0.0.1:6380`,
	"url: redis://x\nserve: {listen: []}":                                                                 inServe + `listen: a list: want a list of addresses such as 127.0.0.1:6380`,
	"url: redis://x\nserve: {listen: [6380]}":                                                             inServe + `listen[0]: "6380": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
	"url: redis://x\nserve: {listen: ['localhost:70000']}":                                                inServe + `listen[0]: "localhost:70000": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
	"url: redis://x\nserve: {listen: ['unix://x/y']}":                                                     inServe + `listen[0]: "unix://x/y": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
	"url: redis://x\nserve: {listen: ['unix:///x?mode=8']}":                                               inServe + `listen[0]: "unix:///x?mode=8": want unix:///path, with only the key mode: the mode of the socket in octal, such as 0660`,
	"url: redis://x\nserve: {listen: ['systemd:']}":                                                       inServe + `listen[0]: "systemd:": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
	"url: redis://x\nserve: {listen: ['[::1]:1', '[::1]:1']}":                                             inServe + `listen[1]: [::1]:1: duplicate address: want it once`,
	"url: redis://x\nserve: {listen: [{tls: {cert: a, key: b}}]}":                                         inServe + `listen[0]: address is missing: want one such as 127.0.0.1:6380`,
	"url: redis://x\nserve: {listen: [{address: 'localhost:1', mode: 0660}]}":                             inServe + `listen[0].mode: a mode for localhost:1: want a mode only for unix:///path`,
	"url: redis://x\nserve: {listen: [{address: 'unix:///x', mode: rw}]}":                                 inServe + `listen[0].mode: "rw": want the mode of the socket in octal, such as 0660`,
	"url: redis://x\nserve: {listen: [{address: 'unix:///x', tls: {cert: a, key: b}}]}":                   inServe + `listen[0].tls: TLS on a unix socket: want TLS only for host:port`,
	"url: redis://x\nserve: {listen: [{address: 'localhost:1', tls: {cert: a}}]}":                         inServe + `listen[0].tls: cert or key is missing: want both`,
	"url: redis://x\nserve: {listen: [{address: 'localhost:1', tls: {cert: /no/such, key: /no/key}}]}":    inServe + `listen[0]: localhost:1: the certificate /no/such with the key /no/key: open /no/such: no such file or directory`,
	"url: redis://x\nserve: {listen: [{address: 'localhost:1', ttl: 1}]}":                                 inServe + `listen[0].ttl: unknown key: want one of address, mode, tls`,
	"url: redis://x\nserve: {}\nprofiles: {a: {serve: {drain: never}}}":                                   `in profile a: FILE:3: serve.drain: "never": want a time such as 30s`,
}

func TestServeConfigMistakesAreOneExactError(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	for text, want := range serveMistakes {
		file := tooltest.File(t, "respool.yaml", text)
		_, err := (&Flags{Config: file}).Read(nil)
		if err == nil {
			t.Errorf("%q: no error: want %s", text, want)
			continue
		}
		got := strings.ReplaceAll(err.Error(), file, "FILE")
		if got != want || strings.Contains(got, "hushhush") || strings.Contains(got, "\n") {
			t.Errorf("%q: got\n%s\nwant\n%s", text, got, want)
		}
	}
}
