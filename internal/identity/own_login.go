package identity

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// ownRefusedFor is how long dials for other users skip the engine's own user after the server refused it.
const ownRefusedFor = 10 * time.Second

// ownLogin remembers whether the server refuses the engine's own user.
type ownLogin struct {
	last atomic.Pointer[ownRefusal] // nil: the server has accepted the user since the last refusal, or there is none
}

// ownRefusal is a refusal of the engine's own user.
type ownRefusal struct {
	err error
	at  time.Time
}

// note records the outcome of a login as the engine's own user.
func (o *ownLogin) note(err error) {
	var se *resp.ServerError
	switch {
	case err == nil:
		if o.last.Load() != nil {
			o.last.Store(nil)
		}
	case errors.As(err, &se) && (se.Code == "NOAUTH" || se.Code == "WRONGPASS"):
		o.last.Store(&ownRefusal{se, time.Now()})
	}
}

// refusal returns the last refusal, unless the server has accepted the user since.
func (o *ownLogin) refusal() error {
	if last := o.last.Load(); last != nil {
		return last.err
	}
	return nil
}

// refused reports whether dials should skip the engine's own user now.
func (o *ownLogin) refused() bool {
	last := o.last.Load()
	return last != nil && time.Since(last.at) < ownRefusedFor
}
