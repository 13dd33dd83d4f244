// Package respool is a Redis client whose connections are bounded: any number
// of goroutines work over a small, fixed number of sockets.
//
// Commands share a few pipelined connections, the lanes. What needs a
// connection of its own (blocking commands, WATCH, Acquire) is lent one, and
// waits in line for it; subscriptions share one. Every socket counts against
// Options.MaxConnections, from before its dial until the server has closed
// its side.
//
//	client, err := respool.Open(ctx, "redis://localhost:6379?max_connections=16")
//	if err != nil { ... }
//	defer client.Close(ctx)
//
//	err = client.Do(ctx, "SET", "name", "value", "EX", 60).Err()
//	name, err := client.Do(ctx, "GET", "name").Text()
package respool
