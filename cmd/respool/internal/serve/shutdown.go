package serve

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
)

// closeLimit limits the time for closing once the clients are gone.
const closeLimit = 5 * time.Second

// drain waits for clients to finish, until the configured time is over or stop receives a value.
func (srv *Server) drain(stop <-chan os.Signal, tick <-chan time.Time) {
	srv.accepting.Store(false)
	srv.abandonReload()
	systemd.Notify(srv.log, systemd.Stopping)
	srv.log.Info("stopping", "clients", srv.gateway.Stats().Clients, "drain", srv.settings.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), srv.settings.Drain)
	defer cancel()
	if srv.takingOver() { // the other process waits for the connections of this one
		srv.log.Warn("a stop during the takeover: disconnecting the clients that have moved")
		cancel()
	}
	done := make(chan error, 1)
	go func() { done <- srv.gateway.Shutdown(ctx) }() // the loop below waits for it
	for {
		select {
		case err := <-done:
			srv.drained = true
			if err != nil {
				srv.log.Warn("disconnected the remaining clients", "error", err)
			}
			return
		case <-stop:
			srv.log.Warn("second signal: disconnecting all clients")
			cancel()
		case <-tick:
			systemd.Notify(srv.log, systemd.Alive)
		}
	}
}

// close closes everything. The pages close last, because they report on the rest.
func (srv *Server) close() {
	select {
	case <-srv.closing:
		return // the end of a takeover
	default:
	}
	close(srv.closing)
	srv.accepting.Store(false)
	srv.awaitAttempt()
	srv.awaitReclaim()
	srv.offers.close()
	if srv.endpoint != nil {
		srv.endpoint.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	var errs []error
	for _, l := range srv.listeners {
		_ = l.Close()
	}
	if srv.gateway != nil && !srv.drained {
		errs = append(errs, srv.gateway.Shutdown(ctx))
	}
	srv.acceptors.Wait()
	if srv.probe != nil {
		srv.probe.close()
	}
	if srv.front != nil {
		srv.front.Close()
	}
	var watch sync.WaitGroup // if the server hangs, both take time
	if srv.watcher != nil {
		watch.Go(srv.watcher.Close)
	}
	if srv.client != nil {
		errs = append(errs, srv.client.Close(ctx))
	}
	watch.Wait()
	if srv.embedded != nil {
		srv.embedded.Close()
	}
	if srv.http != nil {
		_ = srv.http.Close()
	}
	if srv.kept != nil {
		_ = srv.kept.Close()
	}
	if srv.arrival != nil { // the other process then uses the connections of this one
		srv.arrival.close()
		srv.arrival.received.Wait()
	}
	if err := errors.Join(errs...); err != nil {
		srv.log.Warn("the shutdown did not finish in time", "error", err)
	}
	if srv.probe != nil { // it was serving
		srv.log.Info("stopped")
	}
}
