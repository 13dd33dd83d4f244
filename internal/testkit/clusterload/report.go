package clusterload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
)

// Report is what all callers saw.
type Report struct{ Kinds []KindReport }

// KindReport is what the callers of one kind saw.
type KindReport struct {
	Name      string
	Calls     int64
	Conflicts int64            // transactions that WATCH ended, and that were repeated
	Gaps      int64            // reported by subscriptions
	Missed    int64            // messages that are missing where a gap was reported
	Late      int64            // messages from before the end of a gap that arrived late or twice
	Errors    map[string]int64 // by text, without numbers
	faults
}

// Errored is the number of errors that the callers saw.
func (k *KindReport) Errored() (n int64) {
	for _, times := range k.Errors {
		n += times
	}
	return n
}

// OK reports whether the callers saw no error and nothing wrong.
func (k *KindReport) OK() bool { return k.faults == faults{} && len(k.Errors) == 0 }

// OK reports whether no caller saw an error or anything wrong.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Kinds, func(k KindReport) bool { return !k.OK() })
}

// Total is the sum of all kinds.
func (r *Report) Total() KindReport {
	t := KindReport{Name: "all", Errors: map[string]int64{}}
	for _, k := range r.Kinds {
		t.Calls, t.Conflicts, t.Gaps, t.Missed, t.Late = t.Calls+k.Calls, t.Conflicts+k.Conflicts, t.Gaps+k.Gaps, t.Missed+k.Missed, t.Late+k.Late
		t.faults.add(k.faults)
		for text, n := range k.Errors {
			t.Errors[text] += n
		}
	}
	return t
}

// String is a table of all kinds, and a list of the errors.
func (r *Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "kind\tcalls\terrors\tlost\tdoubled\tout of order\tconflicts\tgaps\tmissed in gaps\tlate in gaps\t")
	for _, k := range append(slices.Clone(r.Kinds), r.Total()) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", k.Name, k.Calls, k.Errored(), k.Lost, k.Doubled, k.Disordered, k.Conflicts, k.Gaps, k.Missed, k.Late)
	}
	_ = w.Flush()
	for _, k := range r.Kinds {
		for _, text := range slices.Sorted(maps.Keys(k.Errors)) {
			fmt.Fprintf(&b, "%s, %d times: %s\n", k.Name, k.Errors[text], text)
		}
	}
	return b.String()
}

// mostTexts limits the number of different texts that are counted apart.
const mostTexts = 50

func (k *KindReport) fail(err error) {
	text := plain(err)
	if k.Errors[text] == 0 && len(k.Errors) >= mostTexts {
		text = "other errors"
	}
	k.Errors[text]++
}

// plain returns the text of an error without its numbers, so that similar errors are one.
func plain(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no reply within the timeout of the call: " + strip(err.Error())
	}
	return strip(err.Error())
}

func strip(text string) string {
	const most = 160
	var b strings.Builder
	digits := false
	for _, r := range text {
		if !unicode.IsDigit(r) {
			b.WriteRune(r)
		} else if !digits {
			b.WriteByte('#')
		}
		digits = unicode.IsDigit(r)
	}
	if text = b.String(); len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
