package planfile

import (
	"maps"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/plan"
)

// clientDefault is the ceiling of a pool that a client has unless told
// otherwise. docs/sizing.md names the versions, and what they open beside.
type clientDefault struct {
	connections int // plan.Unbounded: none
	perCPU      int // and so many more for each CPU
}

// clientDefaults are of the clients that a plan may name.
func clientDefaults() map[string]clientDefault {
	return map[string]clientDefault{
		"go-redis":          {10, 10}, // of pipelines, and for each of GOMAXPROCS
		"ioredis":           {1, 0},
		"jedis":             {8, 0},
		"lettuce":           {1, 0},
		"lettuce-pool":      {8, 0},
		"node-redis":        {1, 0},
		"node-redis-pool":   {100, 0},
		"redis-py":          {plan.Unbounded, 0},
		"redis-py-blocking": {50, 0},
		"respool":           {16, 0},
		"rueidis":           {4, 0},
	}
}

func clientNames() string { return strings.Join(slices.Sorted(maps.Keys(clientDefaults())), ", ") }
