package planfile

import (
	"maps"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/plan"
)

// clientDefault is the default pool limit of a client. docs/sizing.md names the versions, and the
// connections that they open beside the pool.
type clientDefault struct {
	connections int // plan.Unbounded: none
	perCPU      int // added for each CPU
}

// clientDefaults lists the clients that a plan may name.
func clientDefaults() map[string]clientDefault {
	return map[string]clientDefault{
		"go-redis":          {10, 10}, // for pipelines, and for each GOMAXPROCS
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
