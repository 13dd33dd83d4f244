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

// Bar draws a bar on standard error while it is a terminal, and nothing
// at all elsewhere.
type Bar struct {
	Title string
	began time.Time
	total time.Duration
	on    bool
}

func Start(title string, total time.Duration) *Bar {
	return &Bar{Title: title, began: time.Now(), total: total, on: term.IsTerminal(int(os.Stderr.Fd()))}
}

const barWidth = 30

func (p *Bar) Update(ops int64) {
	if !p.on {
		return
	}
	done := min(1, float64(time.Since(p.began))/float64(p.total))
	n := int(done * barWidth)
	fmt.Fprintf(os.Stderr, "\r%-28s [%s%s] %3.0f%%  %d operations", p.Title,
		strings.Repeat("#", n), strings.Repeat(".", barWidth-n), done*100, ops)
}

// Clear wipes the line.
func (p *Bar) Clear() {
	if p.on {
		fmt.Fprintf(os.Stderr, "\r%s\r", strings.Repeat(" ", 100))
	}
}
