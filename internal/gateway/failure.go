package gateway

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// errPinLost is the error of a step whose dedicated connection has ended.
var errPinLost = errors.New("the client's dedicated connection is lost")

// maxClients is the text of a Redis server. Clients recognize it and retry later.
const maxClients = "max number of clients reached"

// retryable is the code of an error for a command that had no effect. Clients retry on this code, or treat the
// connection as lost.
const retryable = "-LOADING"

// failure is the failure of a command without a reply from the server.
type failure struct {
	text   string // an error reply that begins with its code
	closes bool   // close the client's connection instead of a reply
	err    error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// failureOf decides what a client gets for a failed command. harmless means that the command may run twice. waits means
// that the server may delay its reply: clients of such a command handle the end of the connection better than an error.
func (g *Gateway) failureOf(err error, harmless, waits bool) *failure {
	f := &failure{text: "-ERR respool: " + explain(err), err: err}
	lost, sent := connectionLost(err)
	var refusal *resp.ServerError
	switch {
	case !lost:
	case !sent && errors.As(err, &refusal):
		f.text = "-" + refusal.Error() // the server's own error for a connection of this kind
	case lane.BadReply(err):
	default:
		if !sent || harmless {
			f.text = retryable + strings.TrimPrefix(f.text, "-ERR")
		}
		f.closes = sent && waits || g.settings.Load().CloseOnFailure
	}
	return f
}

// explain returns the text of an error for users.
func explain(err error) string {
	if we, ok := errors.AsType[*wire.Error](err); ok {
		return we.Explain()
	}
	return strings.TrimPrefix(err.Error(), "respool: ")
}

// connectionLost reports whether the end or the lack of a connection caused an error, and whether the command may have
// been sent.
func connectionLost(err error) (lost, sent bool) {
	if we, ok := errors.AsType[*wire.Error](err); ok {
		return true, we.Sent
	}
	for _, unsent := range []error{engine.ErrPoolExhausted, engine.ErrClosed, pool.ErrExhausted, pool.ErrSuspended,
		lane.ErrDraining, lane.ErrFull, errPinLost, context.DeadlineExceeded, quota.ErrOverLimit} {
		if errors.Is(err, unsent) {
			return true, false
		}
	}
	return false, false
}

// printable escapes and shortens an argument of a client for an error or a log.
func printable(b []byte) string {
	const longest = 64
	text := strconv.QuoteToASCII(string(b[:min(len(b), longest)]))
	return text[1 : len(text)-1]
}
