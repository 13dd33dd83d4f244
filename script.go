package respool

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
)

// Script is a Lua script. The client sends its source once and then refers to it by its digest. A
// Script is safe for concurrent use, with any client.
type Script struct {
	source   string
	digest   string
	readOnly bool
}

// NewScript returns a script with the given source. It contacts no server.
func NewScript(source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{source: source, digest: hex.EncodeToString(sum[:])}
}

// ReadOnly returns the same script for EVAL_RO (Redis 7 and later). The server refuses its writes,
// replicas run it, and the client resends it when a connection breaks.
func (s *Script) ReadOnly() *Script {
	return &Script{source: s.source, digest: s.digest, readOnly: true}
}

// Digest returns the SHA-1 that identifies the script on the server, in hexadecimal.
func (s *Script) Digest() string { return s.digest }

// Run runs the script with keys and further arguments, and waits for the reply as Client.Do does.
// It sends EVALSHA, and sends the source with EVAL if the server does not know the script.
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

// Load sends the script to the server before its first run. It waits as Client.Do does, and returns
// an error if the server reports another digest.
func (s *Script) Load(ctx context.Context, c *Client) error {
	digest, err := c.Do(ctx, "SCRIPT", "LOAD", s.source).Text()
	if err == nil && digest != s.digest {
		return fmt.Errorf("respool: load script: the server returned digest %s: want %s", digest, s.digest)
	}
	return err
}
