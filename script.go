package respool

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
)

// Script is a Lua script that is sent once and named by its digest from then
// on. It is safe for concurrent use, with any client.
type Script struct {
	source   string
	digest   string
	readOnly bool
}

// NewScript makes a script of its source.
func NewScript(source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{source: source, digest: hex.EncodeToString(sum[:])}
}

// ReadOnly gives the same script for EVAL_RO (Redis 7 and later): the server
// refuses its writes, replicas run it, and it is sent again when a connection
// breaks.
func (s *Script) ReadOnly() *Script {
	return &Script{source: s.source, digest: s.digest, readOnly: true}
}

// Digest is the SHA-1 by which the server knows the script, in hexadecimal.
func (s *Script) Digest() string { return s.digest }

// Run runs the script with its keys and further arguments. It tries EVALSHA,
// and sends the source with EVAL when the server does not know the script.
func (s *Script) Run(ctx context.Context, c *Client, keys []string, args ...any) Reply {
	eval, evalsha := "EVAL", "EVALSHA"
	if s.readOnly {
		eval, evalsha = "EVAL_RO", "EVALSHA_RO"
	}
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, evalsha, s.digest, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	all = append(all, args...)
	r := c.Do(ctx, all...)
	var se *ServerError
	if errors.As(r.Err(), &se) && se.Code == "NOSCRIPT" {
		all[0], all[1] = eval, s.source
		return c.Do(ctx, all...)
	}
	return r
}

// Load sends the script to the server ahead of its first run.
func (s *Script) Load(ctx context.Context, c *Client) error {
	digest, err := c.Do(ctx, "SCRIPT", "LOAD", s.source).Text()
	if err == nil && digest != s.digest {
		return fmt.Errorf("respool: load script: the server gives digest %s: want %s", digest, s.digest)
	}
	return err
}
