// Package progress draws a progress bar on standard error. It is not for standard
// output, which belongs to reports. It starts no goroutines.
package progress

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// Bar is a progress bar. It draws nothing if standard error is not a terminal.
type Bar struct {
	Title string
	began time.Time
	total time.Duration
	on    bool
}

// Start returns a bar that is full after total.
func Start(title string, total time.Duration) *Bar {
	return &Bar{Title: title, began: time.Now(), total: total, on: term.IsTerminal(int(os.Stderr.Fd()))}
}

const barWidth = 30

// Update draws the bar with a number of operations.
func (p *Bar) Update(ops int64) {
	if !p.on {
		return
	}
	done := min(1, float64(time.Since(p.began))/float64(p.total))
	n := int(done * barWidth)
	fmt.Fprintf(os.Stderr, "\r%-28s [%s%s] %3.0f%%  %d operations", p.Title,
		strings.Repeat("#", n), strings.Repeat(".", barWidth-n), done*100, ops)
}

// Clear erases the bar.
func (p *Bar) Clear() {
	if p.on {
		fmt.Fprintf(os.Stderr, "\r%s\r", strings.Repeat(" ", 100))
	}
}
