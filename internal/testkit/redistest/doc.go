// Package redistest starts real servers for tests, on free ports of 127.0.0.1,
// and ends them with the test: redis-server of the PATH, or the redis-server or
// valkey-server that the environment variable REDIS_SERVER names by an absolute
// path. A test whose outcome depends on the server asks Server.Version or
// Server.Has. The package judges the client from outside, so it uses none of
// the project's own packages.
package redistest
