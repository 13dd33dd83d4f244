package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Face is how a cluster appears to the clients of a gateway.
type Face uint8

const (
	// FaceSingle makes a cluster appear as one server outside a cluster.
	FaceSingle Face = iota
	// FaceCluster makes a cluster appear as a cluster whose only node is the gateway, for clients that require one.
	FaceCluster
)

func (f Face) String() string { return [...]string{"single", "cluster"}[f] }

// Order is the order in which the nodes of a cluster execute the commands of one client.
type Order uint8

const (
	// OrderSlot keeps the order of the commands of each slot. Commands of several slots run at the same time.
	OrderSlot Order = iota
	// OrderStrict keeps the order of all commands: a command for another node waits for the replies to the earlier ones.
	OrderStrict
)

func (o Order) String() string { return [...]string{"slot", "strict"}[o] }

// checkFace checks the fields about a cluster.
func (cfg *Config) checkFace(clustered bool) error {
	switch {
	case cfg.Face > FaceCluster:
		return fmt.Errorf("gateway: Face is %d: want FaceSingle or FaceCluster", cfg.Face)
	case cfg.Order > OrderStrict:
		return fmt.Errorf("gateway: Order is %d: want OrderSlot or OrderStrict", cfg.Order)
	case cfg.Face == FaceCluster && !clustered:
		return errors.New("gateway: the face is cluster, but the server is not a Redis Cluster: want a URL redis+cluster://, or the face single")
	case cfg.Announce != "" && cfg.Face != FaceCluster:
		return errors.New("gateway: announce is set, but the face is single: want the face cluster, or no announce")
	}
	if cfg.Announce == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(cfg.Announce)
	if n, failed := strconv.ParseUint(port, 10, 16); err != nil || failed != nil || host == "" || n == 0 {
		return fmt.Errorf("gateway: announce is %.80q: want host:port, as clients reach the gateway", cfg.Announce)
	}
	return nil
}

var (
	movedPrefix = []byte("-MOVED ")
	askPrefix   = []byte("-ASK ")
	infoInfo    = command.Lookup("INFO")
)

// hideNodes replaces redirects in final replies of a cluster: clients must not connect to its nodes. They get such a reply
// if no node took the command within the wait timeout, or if a retry would overwrite a later write.
func hideNodes(frames [][]byte) {
	for i, f := range frames {
		if bytes.HasPrefix(f, movedPrefix) || bytes.HasPrefix(f, askPrefix) {
			frames[i] = resp.AppendError(nil, "-TRYAGAIN respool: the slot of the keys moves between nodes, and the command was not executed")
		}
	}
}

// faceOf returns the reply to a multiplexed command as the gateway's face shows it: INFO contains the mode of the server.
func (c *client) faceOf(raw []byte, frames [][]byte) [][]byte {
	if len(frames) != 1 || c.g.settings.Load().Face != FaceSingle || commandOf(raw) != infoInfo {
		return frames
	}
	h, err := resp.ReadHead(frames[0])
	if err != nil || h.Kind != resp.BulkString && h.Kind != resp.Verbatim || h.Null {
		return frames
	}
	text := append([]byte("\r\n"), h.Str...)
	for _, field := range [][2]string{{"redis_mode:cluster", "redis_mode:standalone"}, {"server_mode:cluster", "server_mode:standalone"},
		{"cluster_enabled:1", "cluster_enabled:0"}} {
		text = bytes.Replace(text, []byte("\r\n"+field[0]+"\r\n"), []byte("\r\n"+field[1]+"\r\n"), 1)
	}
	return [][]byte{c.text(text[len("\r\n"):])}
}

// commandOf returns the command of a request in canonical form; nil if the table lacks it.
func commandOf(raw []byte) *command.Info {
	h, err := resp.ReadHead(raw)
	if err != nil {
		return nil
	}
	name, err := resp.ReadHead(raw[h.Size:])
	if err != nil {
		return nil
	}
	return command.LookupBytes(name.Str)
}

// mustWaitLocked reports whether a refused command at the front must wait: until the replies to the later commands show
// whether the node executed some of them.
func (c *client) mustWaitLocked(s *pendingReply) bool {
	return s.refusal != nil && c.pending.posted > 0 && c.g.engine.Clustered()
}

// overtakenLocked reports whether the refused command at the front must not be sent again: it writes, and a later
// command that was executed writes to one of its keys.
func (c *client) overtakenLocked(s *pendingReply) bool {
	if s.refusal == nil || s.reads || !c.g.engine.Clustered() {
		return false
	}
	raw := c.pending.replay.bytes(s.from, s.to)
	for tag := c.pending.head + 1; ; tag++ {
		later := c.pending.at(tag)
		if later == nil {
			return false
		}
		if later.state == answered && !later.reads && later.to > later.from &&
			engine.ShareKeys(raw, c.pending.replay.bytes(later.from, later.to)) {
			return true
		}
	}
}

// behindWriteLocked reports whether a PUBLISH on a lane could overtake an earlier write of the client on another lane.
func (c *client) behindWriteLocked(l *lane.Lane) bool {
	if c.route.spread == nil || c.pending.posted == 0 {
		return false
	}
	for tag := c.pending.head; ; tag++ {
		earlier := c.pending.at(tag)
		if earlier == nil {
			return false
		}
		if earlier.state == posted && !earlier.reads && c.route.laneOf(earlier.via) != l {
			return true
		}
	}
}

// publishes reports whether a step sends a message that must not overtake the earlier writes of the client.
func publishes(step *session.Step) bool {
	return isPublish(step.Info) || step.Kind == session.Transaction && step.InvolvesSubscribers()
}

func isPublish(info *command.Info) bool {
	return info != nil && (info == infoPublish || info == infoSPublish)
}

var (
	infoPublish  = command.Lookup("PUBLISH")
	infoSPublish = command.Lookup("SPUBLISH")
)
