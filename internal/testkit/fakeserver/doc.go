// Package fakeserver imitates a server of a given version. Use it for behaviour that a real server
// does not show on demand: the replies of versions that are not installed, a HELLO that is refused
// or ignored, replies that are dropped, sent twice or swapped, and scripted connections. It serves
// a TCP port, a unix socket, TLS, or connections in memory, which work in a synctest bubble. To
// test how commands behave, use a real server: see redistest.
//
// StartCluster starts a cluster of such servers, for more nodes than real ones are practical (100),
// and to count the queries of the map. For a real cluster, see clustertest.
//
// The package tests the client from outside, so it imports none of the packages under test. Each
// connection has a goroutine, and Server.Close waits for all of them.
package fakeserver
