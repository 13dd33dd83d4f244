package command

import "strings"

// RequestPolicy says which nodes of a cluster a command is for.
type RequestPolicy uint8

const (
	// ByKey is the node of the command's slot, or any node for a command without keys.
	ByKey RequestPolicy = iota
	// AllNodes is every primary and replica. It concerns the state of a server, not the data.
	AllNodes
	// AllShards is every primary.
	AllShards
	// MultiShard is like ByKey, but the command may be split if its keys are in different slots. Each part has the
	// arguments before the first key, some of the keys, each with the Step-1 arguments that follow it, and the
	// arguments after the last key. XREAD differs: the IDs of a part's keys follow all its keys.
	MultiShard
	// SpecialRequest commands need their own code:
	//   - SCAN visits all primaries, one after another. Its cursor names the node.
	//   - RANDOMKEY runs on one primary. The probability of each is its share of the keys (DBSIZE).
	//   - WAIT and WAITAOF run on the nodes that the caller wrote to.
	//   - HOTKEYS and other commands about one server need a node that the caller names.
	SpecialRequest
)

func (p RequestPolicy) String() string {
	return [...]string{"by_key", "all_nodes", "all_shards", "multi_shard", "special"}[p]
}

// ReplyPolicy says how the replies of several nodes become one. Servers call it the response policy.
type ReplyPolicy uint8

const (
	// OneReply is the reply of a single node. If there are several, they are equal.
	OneReply ReplyPolicy = iota
	// KeyOrder is an array with an element for each key, in the order of the command's keys.
	KeyOrder
	// Joined is the concatenation of arrays, or of maps in RESP3. A null adds nothing, and without any other the
	// reply is null.
	Joined
	// OneSucceeded is the first reply that is not an error.
	OneSucceeded
	// AllSucceeded is the first error, or else any reply.
	AllSucceeded
	// AggSum, AggMin, AggMax are the sum, the lowest and the highest integer; in arrays, of each element.
	AggSum
	AggMin
	AggMax
	// AggLogicalAnd and AggLogicalOr combine integers 0 and 1; in arrays, each element.
	AggLogicalAnd
	AggLogicalOr
	// SpecialReply commands need their own code:
	//   - SCAN's reply is the one of its node, with the node in the cursor.
	//   - INFO's reply is one node's text with the counters and the keyspace summed.
	//   - PUBSUB counts the subscribers of all nodes.
	//   - FUNCTION STATS, LATENCY and MEMORY describe one server: there is no common reply. Use the one of a node
	//     that the caller names, or of any node.
	SpecialReply
)

func (p ReplyPolicy) String() string {
	return [...]string{"one_reply", "key_order", "joined", "one_succeeded", "all_succeeded", "agg_sum", "agg_min", "agg_max",
		"agg_logical_and", "agg_logical_or", "special"}[p]
}

// readPolicies sets the policies from a server's tips. It ignores unknown tips.
func (i *Info) readPolicies(tips []string) {
	for _, tip := range tips {
		kind, value, _ := strings.Cut(strings.ToLower(tip), ":")
		switch kind {
		case "request_policy":
			for p := AllNodes; p <= SpecialRequest; p++ {
				if p.String() == value {
					i.Request = p
				}
			}
		case "response_policy":
			for p := OneSucceeded; p <= SpecialReply; p++ {
				if p.String() == value {
					i.Reply = p
				}
			}
		}
	}
	if i.Request == MultiShard && !i.splittable() {
		i.Request = ByKey
	}
	if i.Request == ByKey {
		i.Reply = OneReply
	} else if i.Reply == OneReply {
		i.Reply = defaultReply(i.Request)
	}
}

// splittable reports whether a part of the keys makes a valid command.
func (i *Info) splittable() bool {
	return len(i.Keys) == 1 && !i.Keys[0].Counted && i.Keys[0].Keyword == "" && i.Keys[0].Limit <= 1
}

// defaultReply returns the policy for the replies of a command whose tips name only its request policy.
func defaultReply(p RequestPolicy) ReplyPolicy {
	switch p {
	case AllNodes, AllShards:
		return Joined
	case MultiShard:
		return KeyOrder
	}
	return OneReply
}
