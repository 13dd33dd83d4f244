// Package redistest starts real servers for tests, on free ports of 127.0.0.1, and stops them at the
// end of the test. It runs redis-server from the PATH, or the redis-server or valkey-server at the
// absolute path in the environment variable REDIS_SERVER. A test whose outcome depends on the server
// uses Server.Version or Server.Has. The package tests the client from outside, so it imports none
// of the packages under test.
package redistest
