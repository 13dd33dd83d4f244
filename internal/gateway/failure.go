package gateway

import (
	"context"
	"errors"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// errPinLost is of a step on a connection that is not there any more.
var errPinLost = errors.New("the connection that was held for this client is lost")

// maxClients is what a server says, word for word: clients know it, and try again later.
const maxClients = "max number of clients reached"

// retryable is the code of an error whose command had no effect. Clients know it of a server that is about to be
// there again: those that try again at all do so at this code, or take the connection for lost.
const retryable = "-LOADING"

// failure is what a client hears of a command that the server has not answered.
type failure struct {
	text string // an error reply that begins with its code
	ends bool   // the client's connection ends in place of the reply
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// failureOf decides what a client hears, and it alone does. harmless says that the command may be carried out
// again, whether it was or not, and waits that the server may hold its reply back: clients that wait so take an error
// for an end of their work, and the connection's end for what it is.
func (g *Gateway) failureOf(err error, harmless, waits bool) *failure {
	f := &failure{text: "-ERR respool: " + explain(err), err: err}
	lost, sent := connectionLost(err)
	var refusal *resp.ServerError
	switch {
	case !lost:
	case !sent && errors.As(err, &refusal):
		f.text = "-" + refusal.Error() // the server's own word to a connection of this kind
	case lane.BadReply(err):
	default:
		if !sent || harmless {
			f.text = retryable + strings.TrimPrefix(f.text, "-ERR")
		}
		f.ends = sent && waits || g.settings.Load().CloseOnFailure
	}
	return f
}

// explain is an error in words for users.
func explain(err error) string {
	if we, ok := errors.AsType[*wire.Error](err); ok {
		return we.Explain()
	}
	return strings.TrimPrefix(err.Error(), "respool: ")
}

// connectionLost reports whether a connection that ended, or was not to be had, is why a command has no
// reply, and whether the command was, or may have been, sent.
func connectionLost(err error) (lost, sent bool) {
	if we, ok := errors.AsType[*wire.Error](err); ok {
		return true, we.Sent
	}
	for _, unsent := range []error{engine.ErrPoolExhausted, engine.ErrClosed, pool.ErrExhausted, pool.ErrSuspended,
		lane.ErrDraining, lane.ErrFull, errPinLost, context.DeadlineExceeded} {
		if errors.Is(err, unsent) {
			return true, false
		}
	}
	return false, false
}
