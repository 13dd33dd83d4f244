package top

import (
	"cmp"
	"context"
	"errors"
	"sync"

	tea "charm.land/bubbletea/v2"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// show runs the live screen until the user quits or ctx ends.
func (l *feed) show(ctx context.Context, first *monitor.State, opts ...tea.ProgramOption) error {
	k := newKiller(ctx, l.sampler)
	defer k.stop()
	m := newModel(first)
	m.kill = k.kill
	p := tea.NewProgram(m, append(opts, tea.WithoutSignalHandler())...) // signals end ctx
	over := make(chan struct{})
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for {
			select {
			case st := <-l.states:
				p.Send(stateMsg{st})
			case <-ctx.Done():
				p.Quit()
				return
			case <-over:
				return
			}
		}
	})
	_, err := p.Run()
	close(over)
	feeding.Wait()
	return err
}

// print prints each state until ctx ends or the output is closed. It judges the last one.
func (l *feed) print(ctx context.Context, first *monitor.State, p *linePrinter) (Outcome, error) {
	for st := first; ; {
		if err := p.print(st); err != nil {
			return Outcome{}, err
		}
		select {
		case st = <-l.states:
		case <-ctx.Done():
			return outcomeOf(st), nil
		}
	}
}

// feed is a running sampler and its newest state that is not shown yet.
type feed struct {
	sampler *monitor.Sampler
	states  chan *monitor.State
	ended   chan struct{}
	err     error // of the sampler; read it after ended is closed
	cancel  context.CancelFunc
}

func startFeed(cfg monitor.SamplerConfig) (*feed, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &feed{states: make(chan *monitor.State, 1), ended: make(chan struct{}), cancel: cancel}
	cfg.OnState = l.offer
	var err error
	l.sampler, err = monitor.NewSampler(cfg)
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(l.ended)
		l.err = l.sampler.Run(ctx)
	}()
	return l, nil
}

// offer replaces the pending state. It does not block, since only the sampler sends.
func (l *feed) offer(st *monitor.State) {
	select {
	case <-l.states:
	default:
	}
	l.states <- st
}

// stop ends the sampler, and returns when its connections are closed.
func (l *feed) stop() {
	l.cancel()
	<-l.ended
}

// firstState waits for a state in which a node answers. It fails if no node does.
func (l *feed) firstState(ctx context.Context) (*monitor.State, error) {
	for {
		select {
		case st := <-l.states:
			if up, err := anyUp(st); up || err != nil {
				return st, err
			}
		case <-l.ended:
			return nil, cmp.Or(l.err, errors.New("no server was read"))
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// anyUp reports whether a node answers. If none does, it returns the reason once it is known for
// all nodes, as safe text.
func anyUp(st *monitor.State) (up bool, err error) {
	if len(st.Nodes) == 0 {
		if st.Err == nil {
			return false, nil
		}
		return false, errors.New(output.Error(st.Err))
	}
	for i := range st.Nodes {
		n := &st.Nodes[i]
		if n.Up {
			return true, nil
		}
		if n.Err == nil {
			return false, nil // not read yet
		}
	}
	return false, errors.New(output.Error(st.Nodes[0].Err))
}
