package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress draws a bar on standard error while it is a terminal, and nothing
// at all elsewhere.
type progress struct {
	title string
	began time.Time
	total time.Duration
	on    bool
}

func newProgress(title string, total time.Duration) *progress {
	return &progress{title: title, began: time.Now(), total: total, on: term.IsTerminal(int(os.Stderr.Fd()))}
}

const barWidth = 30

func (p *progress) update(ops int64) {
	if !p.on {
		return
	}
	done := min(1, float64(time.Since(p.began))/float64(p.total))
	n := int(done * barWidth)
	fmt.Fprintf(os.Stderr, "\r%-28s [%s%s] %3.0f%%  %d operations", p.title,
		strings.Repeat("#", n), strings.Repeat(".", barWidth-n), done*100, ops)
}

// clear wipes the line.
func (p *progress) clear() {
	if p.on {
		fmt.Fprintf(os.Stderr, "\r%s\r", strings.Repeat(" ", 100))
	}
}
