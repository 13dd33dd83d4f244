package respool

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

func TestWrapError(t *testing.T) {
	refused := errors.New("connection refused")
	broken := &wire.Error{Op: "write", Addr: "a:1", Sent: true, Err: refused}
	report := &sentinel.Error{Name: "main", Reason: "gone", Causes: []*sentinel.Cause{{Sentinel: "a:1", Err: broken}, {Sentinel: "b:1", Err: refused}}}
	for name, c := range map[string]struct {
		err  error
		text string // of a *ConnError within; empty: there is none
		same bool   // the error stays as it is
	}{
		"none":                          {nil, "", true},
		"another":                       {refused, "", true},
		"of a connection":               {broken, "respool: write a:1: connection refused (the command was sent and may have been executed)", false},
		"of a connection, wrapped":      {fmt.Errorf("more: %w", broken), "respool: write a:1: connection refused (the command was sent and may have been executed)", false},
		"of a transaction":              {&engine.NotExecuted{Err: broken}, "respool: write a:1: connection refused (the command was sent and may have been executed)", false},
		"of all sentinels of a service": {report, "", true},
	} {
		got := wrapError(c.err)
		ce, is := errors.AsType[*ConnError](got)
		if is != (c.text != "") || is && ce.Error() != c.text || (got == c.err) != c.same {
			t.Errorf("%s: %v", name, got)
		}
		if c.err != nil && c.err != refused && !errors.Is(got, refused) {
			t.Errorf("%s: the cause of %v is lost", name, got)
		}
	}
}
