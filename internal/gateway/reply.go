package gateway

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

var errPinLost = errors.New("the connection that was held for this client is lost")

// errorReply makes an error of a text, which may begin with - and a code of its own.
func errorReply(text string) []byte {
	if !strings.HasPrefix(text, "-") {
		text = "-ERR " + text
	}
	return append([]byte(strings.NewReplacer("\r", " ", "\n", " ").Replace(text)), '\r', '\n')
}

// failureReply tells a client of a failure between the gateway and the server.
func failureReply(err error) []byte {
	return errorReply("respool: " + strings.TrimPrefix(err.Error(), "respool: "))
}

// public makes an error of the engine one that a client understands.
func (g *Gateway) public(err error) error {
	var we *wire.Error
	switch {
	case errors.As(err, &we):
		return &respool.ConnError{Op: we.Op, Addr: we.Addr, Sent: we.Sent, Err: we.Err}
	case errors.Is(err, lane.ErrDraining), errors.Is(err, lane.ErrFull):
		return fmt.Errorf("the connection takes no more: %w", err)
	}
	return err
}

// printable is a client's word as it may stand in an error or a log.
func printable(b []byte) string {
	const longest = 64
	text := strconv.QuoteToASCII(string(b[:min(len(b), longest)]))
	return text[1 : len(text)-1]
}

func integer(n int64) []byte { return append(strconv.AppendInt([]byte{':'}, n, 10), '\r', '\n') }

var replyOK = []byte("+OK\r\n")
