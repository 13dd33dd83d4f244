// Package clustertest starts real Redis Clusters for tests, on free ports of 127.0.0.1, and stops
// them at the end of the test.
//
//	c := clustertest.Start(t, clustertest.Config{}) // three primaries with a replica each
//	c.URL()                                          // for a client
//	n := c.OwnerOf("k")                              // the node of a key
//	c.Failover(n, "")                                // promotes a replica
//	n.Kill(); c.WaitOwner(t, 0, n, time.Minute)      // or n.Pause(); then n.Restart(), n.Resume()
//	c.MoveSlots(n, c.Primaries()[1], 1, 2, 3)        // slot by slot, under load
//	c.MoveTogether(n, c.Primaries()[1], 4, 5)       // quicker: several slots at the same time
//	m := c.BeginMove(4, n); m.MoveKeys("k")          // a half-moved slot
//	p := c.AddPrimary(); c.AddReplica(p)             // c.Remove(n) removes a node
//	w := c.Watch()                                   // samples the sockets of clients
//	c.Calls("cluster|slots")                         // counts the queries of clients
//
// With Config.Relays, clients reach each node through a relay that injects faults. With
// Config.BusRelays too, Cluster.Partition isolates nodes from each other.
//
// The processes and the commands on one node are those of redistest. The package tests the client
// from outside, so it imports none of the packages under test.
package clustertest
