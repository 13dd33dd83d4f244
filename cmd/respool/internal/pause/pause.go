// Package pause waits for a time or the end of a context. It starts no goroutines.
package pause

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends. It returns the error of ctx.
func For(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
