package top

import (
	"slices"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
)

func TestShortNamesKeepThePartInWhichTheyDiffer(t *testing.T) {
	for _, c := range []struct {
		width       int
		names, want []string
	}{
		{16, []string{"orders", "cart"}, []string{"orders", "cart"}},
		{16, []string{"a-service-with-a-long-name"}, []string{"a-servic…ng-name"}},
		{16, []string{"checkout-service-eu-west-1", "checkout-service-eu-west-2"}, []string{"checkout…-west-1", "checkout…-west-2"}},
		{16, []string{"checkout-service-eu-west-reader-pool", "checkout-service-us-east-reader-pool"}, []string{"che…eu-west-read", "che…us-east-read"}},
		{12, []string{"payments-a-worker-primary", "payments-b-worker-primary", "users"}, []string{"pay…a-worker", "pay…b-worker", "users"}},
		{8, []string{"aaaa1bbbbbbbbbbbb2cccc", "aaaa1bbbbbbbbbbbb3cccc", "aaaa4bbbbbbbbbbbb2cccc"}, []string{"aaa…1bbb", "aaa…1b~2", "aaa…4bbb"}},
	} {
		if got := distinct(c.names, c.width); !slices.Equal(got, c.want) {
			t.Errorf("%q: want %q", got, c.want)
		}
	}
}

func TestShortNamesAreDistinctAndFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"a", "b", "orders-service-", "-pool-of-the-readers", "注文", "e\u0301", "1", "2"})
		names := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string {
			name := ""
			for range rapid.IntRange(1, 6).Draw(t, "parts") {
				name += part.Draw(t, "part")
			}
			return output.Cell(name)
		}), 0, 40, rapid.ID).Draw(t, "names")
		width := rapid.IntRange(6, 40).Draw(t, "width")
		seen := map[string]bool{}
		for i, short := range distinct(names, width) {
			if seen[short] || ansi.StringWidth(short) > width || ansi.StringWidth(names[i]) <= width && short != names[i] {
				t.Fatalf("%q becomes %q in %d cells, of %q", names[i], short, width, names)
			}
			seen[short] = true
		}
	})
}
