package monitor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-2b0d76a6/respool"
)

// findDedicated finds pools whose blocking commands hold a connection each, because the server does not report changes
// of keys.
func findDedicated(v *View, _ float64) []Finding {
	return pools(v, func(p *PoolView) (Finding, bool) {
		refusal := p.Now.Blocking.Refusal
		if refusal == nil {
			return Finding{}, false
		}
		return Finding{
			What:     "each blocking command holds a connection, because the server does not report changes of keys",
			Evidence: strings.TrimPrefix(refusal.Error(), "respool: "),
			Remedy:   keyChangesRemedy(refusal, ""),
		}, true
	})
}

// findLost finds elements that blocking commands of a pool took and did not deliver.
func findLost(v *View, limit float64) []Finding {
	return pools(v, func(p *PoolView) (Finding, bool) {
		var lost uint64
		for name, now := range p.Now.Blocking.Commands {
			lost += now.Lost - min(p.Before.Blocking.Commands[name].Lost, now.Lost)
		}
		return Finding{
			What:     "blocking commands lost " + counted(lost, "element"),
			Evidence: "within " + roughly(p.Between) + "; this counts elements that could not return to their key, and commands that were sent and had no reply",
			Remedy:   "the log of the process names the keys of the former; check the server for a restart or failover at that time, and the producers for work that nobody did",
		}, p.Between > 0 && float64(lost)/p.Between.Seconds() > limit
	})
}

// keyChangesRemedy returns what to do if a server refuses to report changes of keys to a user; an empty user is
// unknown.
func keyChangesRemedy(err error, user string) string {
	if user == "" {
		user = "NAME"
	}
	const meanwhile = "until then, one connection is needed for each blocking command that waits"
	var se *respool.ServerError
	if errors.As(err, &se) && se.Code == "NOPERM" {
		return "ACL SETUSER " + user + " +client|tracking +exists; " + meanwhile
	}
	return "use Redis 6.0 or later, or Valkey, directly or through a proxy that supports RESP3 and CLIENT TRACKING; " + meanwhile
}

// keyChanges is the name of the finding of KeyChanges.
const keyChanges = "key-changes"

// KeyChanges returns a finding if the server does not report changes of keys to the user of the probe, because it is
// too old or the user lacks a permission. Blocking commands of a client with this user then hold a connection each. It
// returns nil if the server reports them. It sends CLIENT TRACKING and EXISTS, and reopens the connection
// afterwards. It blocks until the server has answered.
func (p *Probe) KeyChanges(ctx context.Context) (*Finding, error) {
	conn, err := p.c.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Destroy()
	steps := [][]any{{"CLIENT", "TRACKING", "ON"}, {"EXISTS", "respool:" + keyChanges}}
	if p.cfg.Options.Protocol == 2 { // else the connection uses RESP3 if the server knows it
		steps = append([][]any{{"HELLO", 3}}, steps...)
	}
	for _, step := range steps {
		err := conn.Do(ctx, step...).Err()
		var se *respool.ServerError
		switch {
		case err == nil:
			continue
		case !errors.As(err, &se):
			return nil, err
		case se.Code == "MOVED", se.Code == "ASK", se.Code == "CLUSTERDOWN":
			continue // another node serves the key; the user may run the command
		case se.Code == "NOPERM" && step[0] == "EXISTS" && !strings.Contains(strings.ToLower(se.Message), "command"):
			continue // only this key is forbidden
		}
		return p.noKeyChanges(step, se), nil
	}
	return nil, nil
}

func (p *Probe) noKeyChanges(step []any, se *respool.ServerError) *Finding {
	user := p.cfg.Options.Username
	if user == "" {
		user = "default"
	}
	name := strings.TrimSuffix(fmt.Sprintln(step...), "\n")
	if step[0] == "EXISTS" {
		name = "EXISTS"
	}
	f := &Finding{Rule: keyChanges, Severity: Note, Subject: user,
		What:     "the server does not report changes of keys: each blocking command of a respool client holds a connection",
		Evidence: fmt.Sprintf("%s: %s", name, se.Error()),
		Remedy:   keyChangesRemedy(se, user)}
	if se.Code == "NOPERM" {
		f.What = "the user " + user + " may not watch keys: each blocking command of a respool client with this user holds a connection"
		f.Remedy += "; if the clients use another user, examine the server with its URL"
	}
	return f
}
