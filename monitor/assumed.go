package monitor

import (
	"net"
	"strings"
)

// assumedLimit returns the connection limit that the provider documents, and the source of that
// number. It is for servers that do not report their limit.
func assumedLimit(addr string, info Info) (limit int64, source string) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	switch {
	case strings.HasSuffix(host, ".cache.amazonaws.com"), strings.HasSuffix(host, ".cache.amazonaws.com.cn"):
		return 65_000, "Amazon ElastiCache, for each node"
	case strings.HasSuffix(host, ".redis.cache.windows.net"):
		memory, ok := info.Int("maxmemory")
		if !ok || memory <= 0 {
			return 0, ""
		}
		for _, tier := range azureTiers {
			if memory <= tier.memory {
				return tier.limit, "Azure Cache for Redis, standard tier of that memory"
			}
		}
	}
	return 0, ""
}

// azureTiers are the standard tiers, C0 to C6. Premium tiers accept more, so these limits are
// conservative.
var azureTiers = []struct{ memory, limit int64 }{
	{300 << 20, 256}, {1 << 30, 1000}, {5 << 29, 2000}, {6 << 30, 5000}, {13 << 30, 10_000}, {26 << 30, 15_000}, {53 << 30, 20_000},
}
