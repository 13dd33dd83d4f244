package tooltest

// WatchConfig is a configuration of respool watch that uses every key. It needs the environment
// variable TEST_SECRET.
const WatchConfig = `
url: redis://:${TEST_SECRET}@10.0.0.1:6379
every: 2s
list_every: 30s
list_limit: none
maxclients: 500
listen: 127.0.0.1:0
instance: here
rules:
  occupancy-high: {limit: 60%, for: 5m, severity: warn}
  exhaustion: {limit: 2h}
  blocked: off
tell:
  - log
  - webhook: {url: "http://127.0.0.1:1/x", timeout: 3s, headers: {Authorization: "Bearer ${TEST_SECRET}"}}
  - alertmanager: {url: "http://127.0.0.1:2"}
  - command: {run: [sh, -c, "cat >/dev/null"], timeout: 1s}
profiles:
  development: {every: 10s, tell: [log], rules: {occupancy-high: off}}
  production:
    url: rediss://10.0.0.2:6380
    rules: {occupancy-high: {limit: 0.5}, leak: {keep: 0}}
`

// SHA-256 hashes of passwords, as in a configuration.
const (
	HashOfPassword = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8" // of password
	HashOfSecret   = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" // of secret
)

// ServeConfig is a configuration of respool serve that uses every key. It needs the environment
// variable TEST_SECRET.
const ServeConfig = `
url: redis://:${TEST_SECRET}@10.0.0.1:6379?max_connections=8
instance: here
every: 2s
listen: "off"
actions: true
rules: {leak: off}
tell: [log, log]
serve:
  listen:
    - 127.0.0.1:6380
    - {mode: 0660, address: "unix:///run/respool.sock"}
    - unix:///run/other.sock
  url: rediss://app:${TEST_SECRET}@10.0.0.2:6380
  max_clients: 500
  max_clients_per_address: 20
  admin_clients: 2
  input_buffer: 64KiB
  output_buffer: 2MiB
  buffers: 1GiB
  pipeline: 32
  loops: 3
  idle_timeout: 10m
  request_timeout: 5s
  limit_wait: 900ms
  slow_threshold: 20ms
  hot_keys: false
  client_commands_per_second: 5000
  client_bytes_per_second: 10MiB
  write_timeout: 6s
  on_failure: close
  drain: 7s
  admin: true
  server_version: 7.2.0
  users:
    app: {password_sha256: [` + HashOfPassword + `, 2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B], commands: [read, write],
      max_clients: 50, max_connections: 3, commands_per_second: 1000, bytes_per_second: 1MiB}
    ops: {password_sha256: ` + HashOfSecret + `, commands: [all]}
    old: {disabled: true}
profiles:
  small: {serve: {max_clients: 5, idle_timeout: none, users: {app: {commands: [read]}}}}
`
