// Package redistest starts real redis-server processes for tests, on free
// ports of 127.0.0.1, and ends them with the test. It judges the client from
// outside, so it uses none of the project's own packages.
package redistest
