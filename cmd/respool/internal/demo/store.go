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

type unboundedStore struct{ u *unboundedPool }

func (s unboundedStore) get(ctx context.Context, key string) (string, error) {
	v, err := s.u.do(ctx, "GET", key)
	if err == nil && v.Kind == resp.SimpleError {
		err = resp.NewServerError(string(v.Str))
	}
	return string(v.Str), err
}

func (s unboundedStore) set(ctx context.Context, key, value string) error {
	v, err := s.u.do(ctx, "SET", key, value)
	if err == nil && v.Kind == resp.SimpleError {
		err = resp.NewServerError(string(v.Str))
	}
	return err
}
