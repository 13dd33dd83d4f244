package multislot

import (
	"slices"

	"github.com/seed-2b0d76a6/respool/resp"
)

// histogram is a command of LATENCY HISTOGRAM: each bucket is a limit in microseconds, and the number of calls within it.
// A node leaves out the buckets that add no calls.
type histogram struct {
	calls   int64
	buckets [][2]int64 // in the order of their limits
}

// sumHistograms adds the replies of several nodes to LATENCY HISTOGRAM. It returns the first reply if one has another form.
func sumHistograms(frames [][]byte) []byte {
	var names []string
	all := map[string][]histogram{}
	for _, f := range frames {
		elements, err := resp.Elements(f)
		if err != nil || len(elements)%2 != 0 {
			return frames[0]
		}
		for i := 0; i < len(elements); i += 2 {
			name, ok := resp.StringOf(elements[i])
			h, valid := histogramOf(elements[i+1])
			if !ok || !valid {
				return frames[0]
			}
			if all[string(name)] == nil {
				names = append(names, string(name))
			}
			all[string(name)] = append(all[string(name)], h)
		}
	}
	isMap := frames[0][0] == byte(resp.Map)
	out := appendPairs(nil, isMap, len(names))
	for _, name := range names {
		h := sumOf(all[name])
		out = appendPairs(resp.AppendBulkString(out, name), isMap, 2)
		out = resp.AppendInteger(resp.AppendBulkString(out, "calls"), h.calls)
		out = appendPairs(resp.AppendBulkString(out, "histogram_usec"), isMap, len(h.buckets))
		for _, b := range h.buckets {
			out = resp.AppendInteger(resp.AppendInteger(out, b[0]), b[1])
		}
	}
	return out
}

// appendPairs appends the head of a map of n pairs, or of an array of their elements.
func appendPairs(out []byte, isMap bool, n int) []byte {
	if !isMap {
		return resp.AppendArrayHeader(out, 2*n)
	}
	at := len(out)
	out = resp.AppendArrayHeader(out, n)
	out[at] = byte(resp.Map)
	return out
}

// histogramOf reads calls, and the pairs of histogram_usec.
func histogramOf(frame []byte) (h histogram, ok bool) {
	fields, err := resp.Elements(frame)
	if err != nil || len(fields) != 4 {
		return h, false
	}
	calls, err := resp.ReadHead(fields[1])
	if err != nil || calls.Kind != resp.Integer {
		return h, false
	}
	h.calls = calls.Int
	numbers, err := resp.Elements(fields[3])
	if err != nil || len(numbers)%2 != 0 {
		return h, false
	}
	for i := 0; i < len(numbers); i += 2 {
		limit, err := resp.ReadHead(numbers[i])
		count, err2 := resp.ReadHead(numbers[i+1])
		if err != nil || err2 != nil || limit.Kind != resp.Integer || count.Kind != resp.Integer {
			return h, false
		}
		h.buckets = append(h.buckets, [2]int64{limit.Int, count.Int})
	}
	return h, true
}

// sumOf adds histograms of one command.
func sumOf(list []histogram) (sum histogram) {
	var limits []int64
	for _, h := range list {
		sum.calls += h.calls
		for _, b := range h.buckets {
			limits = append(limits, b[0])
		}
	}
	slices.Sort(limits)
	for _, limit := range slices.Compact(limits) {
		within := int64(0)
		for _, h := range list {
			within += h.within(limit)
		}
		sum.buckets = append(sum.buckets, [2]int64{limit, within})
	}
	return sum
}

// within returns the number of calls within a limit.
func (h histogram) within(limit int64) (calls int64) {
	for _, b := range h.buckets {
		if b[0] <= limit {
			calls = b[1]
		}
	}
	return calls
}
