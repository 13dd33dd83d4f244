// Package respool is a Redis client with bounded connections: any number of
// goroutines work over a small, limited number of sockets.
//
// Commands share a few pipelined connections, the lanes. Blocking commands such
// as BLPOP wait without a connection each. A caller that needs a dedicated
// connection (WATCH, Acquire) leases one, and waits in order until one is free.
// All subscriptions share one connection.
// Every socket counts against Options.MaxConnections, from before its dial
// until the server has closed its side.
//
//	client, err := respool.Open(ctx, "redis://localhost:6379?max_connections=16")
//	if err != nil { ... }
//	defer client.Close(ctx)
//
//	err = client.Do(ctx, "SET", "name", "value", "EX", 60).Err()
//	name, err := client.Do(ctx, "GET", "name").Text()
//
// # Terms
//
// The documentation, the errors and the statistics use these terms. Each has an
// example of the same name, or the example that is named with it.
//
//   - A caller is a goroutine with a command. Any number of callers share the
//     connections of a client.
//   - A node is one Redis server address. MaxConnections bounds the sockets to
//     each node.
//   - A conn is one connection to a node whose handshake is complete: TLS, AUTH,
//     HELLO and SELECT. The type Conn is a conn that one caller holds. See
//     Client.Acquire.
//   - The ledger counts every socket to a node: dialing, idle, shared, dedicated,
//     subscribed and closing. A unit of the ledger is a place. Stats reports the
//     ledger.
//   - A lane is a conn that many callers share, pipelined in full duplex. It
//     matches replies to commands by their order.
//   - A dedicated conn is leased to one caller, for commands that change or need
//     the state of a connection. See Client.Acquire and Client.Watch.
//   - A frame is one complete RESP value as raw bytes. The reader of a lane finds
//     frames, and the caller decodes them. Package resp does both.
//   - A push is an out-of-band RESP3 frame, such as a message of a subscription.
//     See Client.Subscribe.
//   - An identity is the user, the database and the protocol of a conn. A command
//     runs only on conns of its own identity.
//   - The primary is the node that accepts writes, and a replica is a copy of it.
//     Sentinels report both. See NewSentinel.
//   - The epoch is a counter that rises at each failover. Conns of an older epoch
//     drain and close.
package respool
