package demo

import (
	"context"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// store is the interface of one side to the server.
type store interface {
	get(ctx context.Context, key string) (string, error)
	set(ctx context.Context, key, value string) error
}

type respoolStore struct{ c *respool.Client }

func (s respoolStore) get(ctx context.Context, key string) (string, error) {
	return s.c.Do(ctx, "GET", key).Text()
}

func (s respoolStore) set(ctx context.Context, key, value string) error {
	return s.c.Do(ctx, "SET", key, value).Err()
}

// unboundedStore has a pool for each node.
type unboundedStore struct {
	pools map[string]*unboundedPool  // by address
	nodes map[string]respool.Options // of the keys; nil: one server
	only  *unboundedPool
}

func newUnboundedStore(opt respool.Options, w *workload) unboundedStore {
	s := unboundedStore{pools: map[string]*unboundedPool{}, nodes: w.nodes}
	if w.nodes == nil {
		s.only = &unboundedPool{opt: opt}
		s.pools[opt.Addr] = s.only
		return s
	}
	for _, node := range w.nodes {
		if s.pools[node.Addr] == nil {
			node.ConnectTimeout, node.SocketTimeout, node.Network = opt.ConnectTimeout, opt.SocketTimeout, "tcp"
			s.pools[node.Addr] = &unboundedPool{opt: node}
		}
	}
	return s
}

// of returns the pool of a key's node.
func (s unboundedStore) of(key string) *unboundedPool {
	if s.only != nil {
		return s.only
	}
	return s.pools[s.nodes[key].Addr]
}

func (s unboundedStore) close() {
	for _, u := range s.pools {
		u.close()
	}
}

func (s unboundedStore) get(ctx context.Context, key string) (string, error) {
	v, err := s.of(key).do(ctx, "GET", key)
	if err == nil && v.Kind == resp.SimpleError {
		err = resp.NewServerError(string(v.Str))
	}
	return string(v.Str), err
}

func (s unboundedStore) set(ctx context.Context, key, value string) error {
	v, err := s.of(key).do(ctx, "SET", key, value)
	if err == nil && v.Kind == resp.SimpleError {
		err = resp.NewServerError(string(v.Str))
	}
	return err
}
