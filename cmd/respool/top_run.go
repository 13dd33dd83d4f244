package main

import (
	"context"
	"sync"

	tea "charm.land/bubbletea/v2"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// show is the live screen, until somebody ends it or ctx ends.
func (l *topLooks) show(ctx context.Context, first *monitor.State, opts ...tea.ProgramOption) error {
	p := tea.NewProgram(newTopModel(first), append(opts, tea.WithoutSignalHandler())...) // signals end ctx
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

// print writes what is seen, until ctx ends or nobody reads it any more.
func (l *topLooks) print(ctx context.Context, first *monitor.State, p *topPrinter) error {
	for st := first; ; {
		if err := p.print(st); err != nil {
			return err
		}
		select {
		case st = <-l.states:
		case <-ctx.Done():
			return nil
		}
	}
}
