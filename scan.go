package respool

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// ScanOptions restrict a scan. The zero value scans everything.
type ScanOptions struct {
	Match string // glob pattern for keys, fields or members; empty: all
	Count int    // the work of the server for each step; 0: its default of 10
	Type  string // Scan only: keys of this type, such as "hash"; empty: all
}

// Scan ranges over the keys of the database. It returns a key that exists during the whole scan at
// least once. Other keys may be missing, and a key may appear twice, as with SCAN itself. An error
// is the last element. In a cluster it scans all primaries, and those again that received slots
// meanwhile.
//
// Each step is one command on a lane. No connection is held between steps, so the caller may leave
// the loop at any time.
func (c *Client) Scan(ctx context.Context, opt ScanOptions) iter.Seq2[string, error] {
	return singles(c.steps(ctx, "SCAN", "", opt))
}

// SScan ranges over the members of a set, with the rules of Scan.
func (c *Client) SScan(ctx context.Context, key string, opt ScanOptions) iter.Seq2[string, error] {
	return singles(c.steps(ctx, "SSCAN", key, opt))
}

// Field is a field of a hash with its value.
type Field struct{ Name, Value string }

// HScan ranges over the fields of a hash, with the rules of Scan.
func (c *Client) HScan(ctx context.Context, key string, opt ScanOptions) iter.Seq2[Field, error] {
	return func(yield func(Field, error) bool) {
		for pair, err := range pairs(c.steps(ctx, "HSCAN", key, opt)) {
			if err != nil {
				yield(Field{}, err)
				return
			}
			value, err := pair[1].Text()
			name, nerr := pair[0].Text()
			if err == nil {
				err = nerr
			}
			if !yield(Field{name, value}, err) || err != nil {
				return
			}
		}
	}
}

// Scored is a member of a sorted set with its score.
type Scored struct {
	Member string
	Score  float64
}

// ZScan ranges over the members of a sorted set, with the rules of Scan.
func (c *Client) ZScan(ctx context.Context, key string, opt ScanOptions) iter.Seq2[Scored, error] {
	return func(yield func(Scored, error) bool) {
		for pair, err := range pairs(c.steps(ctx, "ZSCAN", key, opt)) {
			if err != nil {
				yield(Scored{}, err)
				return
			}
			score, err := pair[1].Float64()
			member, merr := pair[0].Text()
			if err == nil {
				err = merr
			}
			if !yield(Scored{member, score}, err) || err != nil {
				return
			}
		}
	}
}

// steps yields the elements of each step of a scan.
func (c *Client) steps(ctx context.Context, name, key string, opt ScanOptions) iter.Seq2[[]Reply, error] {
	return func(yield func([]Reply, error) bool) {
		if opt.Count < 0 {
			yield(nil, fmt.Errorf("respool: scan with count %d: want 0 or more", opt.Count))
			return
		}
		if opt.Type != "" && name != "SCAN" {
			yield(nil, fmt.Errorf("respool: %s with type %q: only Scan takes a type", name, opt.Type))
			return
		}
		if name == "SCAN" && c.engine.Clustered() {
			c.scanCluster(ctx, opt, yield)
			return
		}
		for cursor := "0"; ; {
			next, elems, err := c.step(ctx, name, key, cursor, opt)
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(elems, nil) || next == "0" {
				return
			}
			cursor = next
		}
	}
}

// scanCluster yields the elements of each step of a scan of all primaries of a cluster.
func (c *Client) scanCluster(ctx context.Context, opt ScanOptions, yield func([]Reply, error) bool) {
	args := func(cursor string) []any { return scanArgs("SCAN", "", cursor, opt) }
	for frame, err := range c.engine.ScanAll(ctx, args) {
		_, elems, err := scanned("SCAN", Reply{frame: frame, err: wrapError(err)})
		if !yield(elems, err) || err != nil {
			return
		}
	}
}

func (c *Client) step(ctx context.Context, name, key, cursor string, opt ScanOptions) (next string, elems []Reply, err error) {
	return scanned(name, c.Do(ctx, scanArgs(name, key, cursor, opt)...))
}

// scanArgs returns the command for one step.
func scanArgs(name, key, cursor string, opt ScanOptions) []any {
	args := []any{name}
	if name != "SCAN" {
		args = append(args, key)
	}
	args = append(args, cursor)
	if opt.Match != "" {
		args = append(args, "MATCH", opt.Match)
	}
	if opt.Count > 0 {
		args = append(args, "COUNT", opt.Count)
	}
	if opt.Type != "" {
		args = append(args, "TYPE", opt.Type)
	}
	return args
}

// scanned returns the cursor and the elements in the reply to one step.
func scanned(name string, r Reply) (next string, elems []Reply, err error) {
	parts, err := r.Array()
	if err != nil {
		return "", nil, err
	}
	if len(parts) != 2 {
		return "", nil, fmt.Errorf("respool: %s returned %d parts: want a cursor and elements", name, len(parts))
	}
	if next, err = parts[0].Text(); err != nil {
		return "", nil, err
	}
	elems, err = parts[1].Array()
	return next, elems, err
}

func singles(steps iter.Seq2[[]Reply, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for elems, err := range steps {
			if err != nil {
				yield("", err)
				return
			}
			for _, e := range elems {
				text, err := e.Text()
				if !yield(text, err) || err != nil {
					return
				}
			}
		}
	}
}

func pairs(steps iter.Seq2[[]Reply, error]) iter.Seq2[[2]Reply, error] {
	return func(yield func([2]Reply, error) bool) {
		for elems, err := range steps {
			if err != nil {
				yield([2]Reply{}, err)
				return
			}
			for i := 0; i+1 < len(elems); i += 2 {
				if !yield([2]Reply{elems[i], elems[i+1]}, nil) {
					return
				}
			}
		}
	}
}

// sleep waits for a random time of at most d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(rand.N(d) + 1)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
