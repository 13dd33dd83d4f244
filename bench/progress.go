package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress draws a bar on a terminal, and prints a line for each case elsewhere.
type progress struct {
	out         *os.File
	terminal    bool
	began       time.Time
	total, done int
	last        string
}

func newProgress(out *os.File) *progress {
	return &progress{out: out, terminal: term.IsTerminal(int(out.Fd()))}
}

func (p *progress) begin(total int) { p.began, p.total = time.Now(), total }

const barWidth = 30

// step shows the current measurement.
func (p *progress) step(what string) {
	part := float64(p.done) / float64(p.total)
	left := ""
	if p.done > 0 {
		left = fmt.Sprintf(", %v left", time.Duration(float64(time.Since(p.began))*(1-part)/part).Round(time.Second))
	}
	p.done++
	if p.terminal {
		n := int(part * barWidth)
		fmt.Fprintf(p.out, "\r[%s%s] %3.0f%%%s  %-60s", strings.Repeat("#", n), strings.Repeat(".", barWidth-n), 100*part, left, what)
		return
	}
	if name, _, _ := strings.Cut(what, ","); name != p.last {
		p.last = name
		fmt.Fprintf(p.out, "%3.0f%% %s%s\n", 100*part, name, left)
	}
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", 120))
	}
}
