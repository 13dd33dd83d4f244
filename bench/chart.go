package main

import (
	_ "embed"
	"fmt"
	"math"
	"os"
	"strings"
	"text/template"
)

//go:embed chart.svg.tmpl
var chartText string

var chartTemplate = template.Must(template.New("chart").Parse(chartText))

// The measures of the chart, in pixels of SVG.
const (
	chartWidth  = 860
	labelsWidth = 190
	barsWidth   = 420
	barHeight   = 13
	rowGap      = 2
	caseGap     = 30
	chartTop    = 92
	chartFoot   = 34
)

type chartBar struct {
	Y, Width     float64
	Name, Figure string
	Ours         bool
}

type chartCase struct {
	Y    float64
	Text string
	Bars []chartBar
}

type chart struct {
	Width, Height, Left, Bar float64
	Subtitle                 string
	Cases                    []chartCase
}

// inChart reports whether the chart shows a case. It shows the cases of plain commands, which are
// easiest to compare.
func (c *benchCase) inChart() bool {
	return (c.Load == getSet || c.Load == pipeline) && c.Size == smallSize && c.Delay == 0
}

// writeChart draws the throughput of each client in each case, relative to the highest in the case.
func (r *report) writeChart(path string) error {
	c := chart{Width: chartWidth, Left: labelsWidth, Bar: barHeight,
		Subtitle: fmt.Sprintf("redis-server %s and the client on the same %d cores over loopback; medians of %d rounds, each client in turn", r.Redis, r.CPUs, r.Rounds)}
	y := float64(chartTop)
	for _, bc := range r.cases {
		if !bc.inChart() {
			continue
		}
		rows := r.inCase(bc.Name)
		most := 0.0
		for _, row := range rows {
			most = math.Max(most, row.Ops)
		}
		cc := chartCase{Y: y, Text: bc.About}
		y += rowGap + 6
		for _, row := range rows {
			figure := grouped(row.Ops) + "/s"
			if bc.Load != pipeline || row.Client != redisBenchmark {
				figure += fmt.Sprintf("  p99 %s  %.0f sockets", millis(row.P99), row.Sockets)
			}
			cc.Bars = append(cc.Bars, chartBar{Y: y, Width: math.Max(1, barsWidth*ratio(row.Ops, most)), Name: row.Client,
				Figure: figure, Ours: row.Client == "respool"})
			y += barHeight + rowGap
		}
		c.Cases = append(c.Cases, cc)
		y += caseGap
	}
	c.Height = y + chartFoot - caseGap
	var b strings.Builder
	if err := chartTemplate.Execute(&b, c); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// grouped formats a number with commas between thousands.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func millis(us float64) string {
	switch ms := us / 1000; {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	default:
		return fmt.Sprintf("%.0f ms", ms)
	}
}
