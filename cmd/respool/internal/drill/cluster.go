package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/progress"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// clusterPlan is what a drill does to a cluster.
type clusterPlan struct {
	name      string
	cluster   *monitor.ClusterMap
	primaries []string             // before the failover, sorted
	primary   *monitor.ClusterNode // of the shard that fails over
	replica   *monitor.ClusterNode // that takes over; both nil without an order
}

// planCluster finds the nodes of a cluster, and chooses a shard. It refuses what the cluster cannot do.
func (r *drill) planCluster(ctx context.Context) ([]monitor.Server, error) {
	servers, err := monitor.FindServers(ctx, r.opt)
	if err != nil {
		return nil, err
	}
	p := &clusterPlan{name: servers.Name, cluster: servers.Cluster}
	if n, slots := p.cluster.Uncovered(); n > 0 {
		return nil, fmt.Errorf("the cluster has no node for %d slots (%s): a drill needs a healthy cluster", n, slots)
	}
	for _, n := range p.cluster.Primaries() {
		p.primaries = append(p.primaries, n.Addr)
		if replicas := p.cluster.Replicas(n); r.cfg.Trigger && p.primary == nil && len(replicas) > 0 {
			p.primary, p.replica = n, replicas[0]
		}
	}
	slices.Sort(p.primaries)
	switch {
	case r.cfg.Trigger && p.primary == nil:
		return nil, errors.New("no primary of the cluster has a replica that works, so none can fail over: want --how none, or add a replica")
	case r.cfg.Reshard > 0 && len(p.primaries) < 2:
		return nil, errors.New("the cluster has one primary, so slots cannot move: want no --reshard, or add a primary")
	}
	if p.primary != nil {
		r.old = p.primary.Addr
	}
	r.plan = p
	return servers.List, nil
}

// question describes what the drill is about to do.
func (r *drill) question() string {
	if p := r.plan; p != nil {
		text := fmt.Sprintf("The %s: primaries %s.\nWrites to keys %s...", p.name, strings.Join(p.primaries, ", "), r.prefix)
		if r.cfg.Trigger {
			text += fmt.Sprintf(", makes the replica %s the primary instead of %s", p.replica.Addr, p.primary.Addr)
		}
		if r.cfg.Reshard > 0 {
			text += fmt.Sprintf(", moves %d slots with all their keys to another primary and back", r.cfg.Reshard)
		}
		return text + ". Continue? [y/N] "
	}
	st := r.client.Stats().Service
	return fmt.Sprintf("Service %s: primary %s, replicas %s, %d sentinels.\nWrites to keys %s... and then triggers a failover. Continue? [y/N] ",
		st.Name, st.Primary, strings.Join(st.Replicas, ", "), len(st.Sentinels), r.prefix)
}

// failOver orders CLUSTER FAILOVER from the replica.
func (p *clusterPlan) failOver(ctx context.Context, opt respool.Options) error {
	c, err := openNode(p.replica, opt)
	if err != nil {
		return err
	}
	defer connect.Close(c)
	if err := c.Do(ctx, "CLUSTER", "FAILOVER").Err(); err != nil {
		return fmt.Errorf("%s refused the failover: %w", p.replica.Addr, err)
	}
	return nil
}

// switched returns the primary that was replaced and its successor, once the client uses the latter.
func (p *clusterPlan) switched(now []string) (old, successor string) {
	for _, addr := range p.primaries {
		if !slices.Contains(now, addr) {
			old = addr
		}
	}
	for _, addr := range now {
		if !slices.Contains(p.primaries, addr) {
			successor = addr
		}
	}
	return old, successor
}

func openNode(n *monitor.ClusterNode, opt respool.Options) (*respool.Client, error) {
	opt = n.Options(opt)
	opt.MaxConnections, opt.Lanes, opt.MinIdle, opt.ClientName = 1, 1, 0, "respool:watch"
	return respool.New(opt)
}

// mover moves slots between two primaries.
type mover struct {
	opt      respool.Options
	from, to *monitor.ClusterNode
	nodes    map[string]*respool.Client // of all primaries, by ID
	auth     []any                      // arguments of MIGRATE
	slots    []int
	moved    []int
	keys     int
}

// migrateBatch is the number of keys that one MIGRATE moves, and migrateMS its timeout in milliseconds.
const (
	migrateBatch = 100
	migrateMS    = 20_000
)

// reshard moves slots from one primary to another while the callers work, and back. If it fails or ctx ends, it moves
// back what it moved.
func (r *drill) reshard(ctx context.Context, bar *progress.Bar) error {
	m, err := r.newMover(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	move := Move{Slots: len(m.slots), From: m.from.Addr, To: m.to.Addr}
	bar.Title = "moving slots"
	r.watch.note("drill", fmt.Sprintf("moves %d slots from %s to %s", len(m.slots), m.from.Addr, m.to.Addr))
	began := time.Now()
	err = m.run(ctx, func() { bar.Update(r.load.operations()) })
	move.OutMS, move.Keys = milliseconds(began), m.keys
	r.watch.note("drill", fmt.Sprintf("moved %d slots with %d keys", len(m.moved), m.keys))
	if err == nil {
		err = r.step(ctx, bar, r.cfg.After)
	}
	r.watch.note("drill", "moves them back")
	began = time.Now()
	m.turn()
	// The slots return also after an interruption.
	if back := m.run(context.WithoutCancel(ctx), func() { bar.Update(r.load.operations()) }); back != nil {
		return errors.Join(err, fmt.Errorf("slots %v stay at %s: %w", m.slots, m.from.Addr, back))
	}
	move.BackMS = milliseconds(began)
	r.watch.note("drill", fmt.Sprintf("moved %d slots back", len(m.moved)))
	r.moves = append(r.moves, move)
	if err != nil {
		return err
	}
	return r.step(ctx, bar, r.cfg.After)
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

// newMover chooses the slots: those of the drill's own keys first, so that their callers see the move.
func (r *drill) newMover(ctx context.Context) (*mover, error) {
	now, err := monitor.FindCluster(ctx, r.opt)
	if err != nil {
		return nil, err
	}
	primaries := now.Primaries()
	if len(primaries) < 2 {
		return nil, errors.New("the cluster has one primary now, so slots cannot move")
	}
	m := &mover{opt: r.opt, from: primaries[0], to: primaries[1], nodes: map[string]*respool.Client{}}
	for _, n := range primaries {
		if m.nodes[n.ID], err = openNode(n, r.opt); err != nil {
			m.close()
			return nil, err
		}
	}
	if m.auth, err = credentialArguments(ctx, r.opt); err != nil {
		m.close()
		return nil, err
	}
	owned := m.from.OwnedSlots()
	if len(owned) <= r.cfg.Reshard {
		m.close()
		return nil, fmt.Errorf("--reshard is %d: want fewer than the %d slots of %s", r.cfg.Reshard, len(owned), m.from.Addr)
	}
	for _, key := range r.load.keys() {
		slot, err := m.nodes[m.from.ID].Do(ctx, "CLUSTER", "KEYSLOT", key).Int64()
		if err != nil {
			m.close()
			return nil, err
		}
		if slices.Contains(owned, int(slot)) && !slices.Contains(m.slots, int(slot)) {
			m.slots = append(m.slots, int(slot))
		}
	}
	for _, slot := range owned {
		if !slices.Contains(m.slots, slot) {
			m.slots = append(m.slots, slot)
		}
	}
	m.slots = m.slots[:r.cfg.Reshard]
	return m, nil
}

// credentialArguments are the arguments with which MIGRATE authenticates at the other node.
func credentialArguments(ctx context.Context, opt respool.Options) ([]any, error) {
	user, password := opt.Username, opt.Password
	if opt.Credentials != nil {
		c, err := opt.Credentials(ctx)
		if err != nil {
			return nil, err
		}
		user, password = c.Username, c.Password
	}
	switch {
	case user != "":
		return []any{"AUTH2", user, password}, nil
	case password != "":
		return []any{"AUTH", password}, nil
	}
	return nil, nil
}

func (m *mover) close() {
	for _, c := range m.nodes {
		if c != nil {
			connect.Close(c)
		}
	}
}

// turn makes run move the moved slots back.
func (m *mover) turn() {
	m.from, m.to, m.slots, m.moved = m.to, m.from, m.moved, nil
}

// run moves the slots, one after the other. A slot that has begun to move is completed after ctx ends.
func (m *mover) run(ctx context.Context, step func()) error {
	for _, slot := range m.slots {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.move(context.WithoutCancel(ctx), slot); err != nil {
			return fmt.Errorf("move slot %d from %s to %s: %w", slot, m.from.Addr, m.to.Addr, err)
		}
		m.moved = append(m.moved, slot)
		step()
	}
	return nil
}

// moveLimit limits the move of one slot, and its return after a failure.
const moveLimit = time.Minute

func (m *mover) move(ctx context.Context, slot int) error {
	ctx, cancel := context.WithTimeout(ctx, moveLimit)
	defer cancel()
	from, to := m.nodes[m.from.ID], m.nodes[m.to.ID]
	if err := to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", m.from.ID).Err(); err != nil {
		return err
	}
	if err := from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", m.to.ID).Err(); err != nil {
		return m.abort(ctx, slot, err)
	}
	for {
		keys, err := from.Do(ctx, "CLUSTER", "GETKEYSINSLOT", slot, migrateBatch).Texts()
		if err != nil {
			return m.abort(ctx, slot, err)
		}
		if len(keys) == 0 {
			break
		}
		if err := m.migrate(ctx, from, keys); err != nil {
			return m.abort(ctx, slot, err)
		}
		m.keys += len(keys)
	}
	// If the old owner were first, no node would own the slot for a moment.
	for _, c := range []*respool.Client{to, from} {
		if err := c.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", m.to.ID).Err(); err != nil {
			return err
		}
	}
	for id, c := range m.nodes {
		if id != m.from.ID && id != m.to.ID {
			_ = c.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", m.to.ID).Err() // it learns the owner from the others too
		}
	}
	return nil
}

func (m *mover) migrate(ctx context.Context, from *respool.Client, keys []string) error {
	host, port := m.to.Announced()
	args := append([]any{"MIGRATE", host, port, "", 0, migrateMS}, m.auth...)
	args = append(args, "KEYS")
	for _, key := range keys {
		args = append(args, key)
	}
	return from.Do(ctx, args...).Err()
}

// abort ends a move that failed. Keys that have moved return. It has a separate time limit, since that of the move may
// be over.
func (m *mover) abort(ctx context.Context, slot int, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), moveLimit)
	defer cancel()
	from, to := m.nodes[m.from.ID], m.nodes[m.to.ID]
	err := from.Do(ctx, "CLUSTER", "SETSLOT", slot, "STABLE").Err()
	for err == nil {
		var keys []string
		if keys, err = to.Do(ctx, "CLUSTER", "GETKEYSINSLOT", slot, migrateBatch).Texts(); err != nil || len(keys) == 0 {
			break
		}
		back := &mover{to: m.from, auth: m.auth}
		err = back.migrate(ctx, to, keys)
	}
	if e := to.Do(ctx, "CLUSTER", "SETSLOT", slot, "STABLE").Err(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("%w; the slot may be half moved (redis-cli --cluster fix %s repairs it): %w", cause, m.from.Addr, err)
	}
	return cause
}
