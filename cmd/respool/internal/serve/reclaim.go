package serve

import (
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
)

// reclaim is the rest of a takeover that has failed: this gateway serves again, but with the places that it had kept.
type reclaim struct {
	closed bool          // this process did not accept, and another one may have its socket of other programs
	done   chan struct{} // closed when it has all places again
}

// goOn ends the takeover without another process. A goroutine takes the places back.
func (h *handover) goOn(why error) {
	h.breakOff()
	h.srv.gateway.StayClients()
	if h.closed {
		h.srv.acceptAgain()
	}
	r := &reclaim{closed: h.closed, done: make(chan struct{})}
	h.srv.reclaim = r
	go func() { // finishReclaim or close waits for it
		defer close(r.done)
		h.reclaim(why)
	}()
}

// reclaim takes the places back that were lent, when the other process has closed its connections, and the server has noticed that.
// A process that still runs learns why it has to end. The end of this gateway cuts the wait short.
func (h *handover) reclaim(why error) {
	h.with.channel.SendBy(time.Now().Add(lastSend))
	if h.with.channel.Send(takeover.Message{Kind: takeover.Refusal, Text: why.Error()}) == nil {
		h.awaitEnd()
	}
	h.with.channel.Close()
	h.receiver.Wait()
	select {
	case <-time.After(graceOfSockets):
		h.srv.client.Engine().Unrestrict()
	case <-h.srv.closing:
	}
}

// awaitEnd waits until the other process has closed the channel, for as long as it may take to close its connections.
func (h *handover) awaitEnd() {
	for by := time.After(closeLimit + graceOfSockets); ; {
		select {
		case r := <-h.result:
			if r.err != nil {
				return
			}
		case <-by:
			return
		case <-h.srv.closing:
			return
		}
	}
}

// reclaimed returns a channel that is closed when the rest of a failed takeover is over; nil: there is none.
func (srv *Server) reclaimed() <-chan struct{} {
	if srv.reclaim == nil {
		return nil
	}
	return srv.reclaim.done
}

// finishReclaim ends a failed takeover. A reload may have waited for that.
func (srv *Server) finishReclaim() {
	if srv.reclaim.closed {
		srv.openSocket()
	}
	srv.reclaim = nil
	if srv.reloadAgain {
		srv.reload()
	}
}

// awaitReclaim waits for the end of the goroutine of a failed takeover, which srv.closing causes.
func (srv *Server) awaitReclaim() {
	if srv.reclaim != nil {
		<-srv.reclaim.done
	}
}
