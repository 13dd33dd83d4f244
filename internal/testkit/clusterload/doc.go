// Package clusterload runs callers of every kind on a Redis Cluster, and checks what each of them
// sees while slots move or nodes fail.
//
//	load, err := clusterload.Start(ctx, clusterload.Respool(client), clusterload.Config{Callers: 200, Slots: slots})
//	for i := range slots { load.At(i); ... }   // moves a slot
//	report := load.Stop()
//
// Each caller numbers its writes to a key. So a reply, or a later read, shows a write that was lost,
// executed twice, or executed out of order.
package clusterload
