package sizing

import (
	"bufio"
	"fmt"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/input"
)

// readTrace reads a file with one duration on each line.
func readTrace(name string) ([]time.Duration, error) {
	if name == "" {
		return nil, nil
	}
	file, err := input.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	defer file.Close()
	var trace []time.Duration
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("--trace: line %d of %s is %.40q: want a time such as 1.2ms", n, name, text)
		}
		trace = append(trace, d)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	if len(trace) == 0 {
		return nil, fmt.Errorf("--trace: %s contains no durations", name)
	}
	return trace, nil
}
