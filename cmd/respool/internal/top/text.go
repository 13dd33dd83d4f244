package top

import (
	"math"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// fit truncates text, or pads it on the right, to a width.
func fit(s string, width int) string {
	s = ansi.Truncate(s, max(0, width), "…")
	return s + strings.Repeat(" ", max(0, width-ansi.StringWidth(s)))
}

// fitRight is fit with the padding on the left.
func fitRight(s string, width int) string {
	s = ansi.Truncate(s, max(0, width), "…")
	return strings.Repeat(" ", max(0, width-ansi.StringWidth(s))) + s
}

// wrapParts fills each line with as many parts as fit.
func wrapParts(parts []string, width int) []string {
	const gap = "  "
	var lines []string
	for _, part := range parts {
		if last := len(lines) - 1; last >= 0 && ansi.StringWidth(lines[last]+gap+part) <= width {
			lines[last] += gap + part
		} else {
			lines = append(lines, part)
		}
	}
	return lines
}

// sparks are block characters by height.
var sparks = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values between 0 and top. A negative value is unknown. A positive value is always
// higher than 0.
func sparkline(values []float64, top float64) string {
	var b strings.Builder
	for _, v := range values {
		switch {
		case v < 0 || math.IsNaN(v):
			b.WriteByte(' ')
		case v == 0 || top <= 0:
			b.WriteRune(sparks[0])
		default:
			steps := float64(len(sparks) - 1)
			b.WriteRune(sparks[int(min(steps, math.Ceil(v/top*steps)))])
		}
	}
	return b.String()
}

// spread returns the largest value of points in each of width equal periods, or -1 if a period has
// no point. If there are fewer points than cells, they are on the right, side by side.
func spread(points []monitor.Point, width int, value func(*monitor.Point) float64) []float64 {
	cells := make([]float64, max(0, width))
	for i := range cells {
		cells[i] = -1
	}
	if len(points) == 0 || len(cells) == 0 {
		return cells
	}
	begun := points[0].At
	span := points[len(points)-1].At.Sub(begun)
	for i := range points {
		at := len(cells) - len(points) + i
		if len(points) > len(cells) && span > 0 {
			at = int(float64(points[i].At.Sub(begun)) / float64(span) * float64(len(cells)))
		}
		at = min(max(at, 0), len(cells)-1)
		cells[at] = max(cells[at], value(&points[i]))
	}
	return cells
}
