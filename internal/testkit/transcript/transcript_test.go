package transcript

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// counter adds numbers. A block must end with an even sum.
type counter struct{ sum int }

func (c *counter) Run(out *strings.Builder, line string) error {
	var n int
	if _, err := fmt.Sscanf(line, "add %d", &n); err != nil {
		return errors.New("unknown line")
	}
	c.sum += n
	fmt.Fprintf(out, "sum %d\n", c.sum)
	return nil
}

func (c *counter) EndBlock() error {
	if c.sum%2 != 0 {
		return errors.New("the sum is odd")
	}
	return nil
}

func TestTheOutputFollowsTheInput(t *testing.T) {
	const want = "# A counter.\n\nadd 2\n# comment\nadd 2\n----\nsum 2\nsum 4\n\nadd 2\n----\nsum 6\n"
	for _, text := range []string{want, "# A counter.\n\nadd 2\n# comment\nadd 2\n\nadd 2\n----\nsum 7\n"} {
		got, errs := run(text, &counter{})
		if got != want || len(errs) != 0 {
			t.Errorf("got %q, %v: want %q", got, errs, want)
		}
	}
}

func TestErrorsNameTheLineOrTheBlock(t *testing.T) {
	got, errs := run("add 2\nsub 1\n\nadd 1\n----\nsum 3\n", &counter{})
	if len(errs) != 2 || errs[0].Error() != "sub 1: unknown line" || !strings.HasPrefix(errs[1].Error(), "add 1\n") {
		t.Errorf("got %v: want the errors of one line and of one block", errs)
	}
	if want := "add 2\nsub 1\n----\nsum 2\n\nadd 1\n----\nsum 3\n"; got != want {
		t.Errorf("got %q: want %q", got, want)
	}
}

func TestTheFirstDifferenceIsNamed(t *testing.T) {
	for _, x := range []struct{ want, got, text string }{
		{"a\nb\n", "a\nc\n", "line 2:\nwant b\ngot  c"},
		{"a", "a\nb", "got 2 lines: want 1"},
	} {
		if text := firstDifference(x.want, x.got); text != x.text {
			t.Errorf("got %q: want %q", text, x.text)
		}
	}
}
