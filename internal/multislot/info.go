package multislot

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// infoSums are the fields of INFO that MergeInfo adds, besides those with a prefix of infoSumPrefixes.
var infoSums = map[string]bool{
	"connected_clients": true, "blocked_clients": true, "tracking_clients": true, "pubsub_clients": true, "watching_clients": true,
	"clients_in_timeout_table": true, "total_blocking_keys": true, "connected_slaves": true,
	"used_memory": true, "used_memory_rss": true, "used_memory_dataset": true, "used_memory_overhead": true, "maxmemory": true,
	"instantaneous_ops_per_sec": true, "rejected_connections": true, "unexpected_error_replies": true, "rdb_changes_since_last_save": true,
	"pubsub_channels": true, "pubsub_patterns": true, "pubsubshard_channels": true,
}

// infoSumPrefixes begin the names of counters in INFO.
var infoSumPrefixes = []string{"total_", "expired_", "evicted_", "keyspace_", "sync_", "dump_payload_", "lazyfree"}

// infoNoSums are exceptions from infoSumPrefixes: percentages, and properties of the machine.
var infoNoSums = map[string]bool{"total_system_memory": true, "total_system_memory_human": true, "expired_stale_perc": true}

// MergeInfo joins the replies of several nodes to INFO: it is the text of the first node, with the sums of counters, of
// numbers of clients, of memory in use, and of the rows about databases, commands and errors.
func MergeInfo(frames [][]byte) []byte {
	if failed := firstError(frames); failed != nil {
		return failed
	}
	first, ok := textOf(frames[0])
	if !ok {
		return unexpected(frames[0])
	}
	sums, rows := map[string]int64{}, newStatRows()
	for _, f := range frames {
		text, ok := textOf(f)
		if !ok {
			return unexpected(f)
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
			if rows.add(name, value) {
				continue
			}
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && isSum(name) {
				sums[name] += n
			}
		}
	}
	var out bytes.Buffer
	for line := range strings.Lines(string(first)) {
		name, _, isField := strings.Cut(line, ":")
		n, summed := sums[name]
		switch {
		case rows.has(name):
		case isField && name == "used_memory_human":
			fmt.Fprintf(&out, "%s:%s\r\n", name, humanSize(sums["used_memory"]))
		case summed:
			fmt.Fprintf(&out, "%s:%d\r\n", name, n)
		default:
			out.WriteString(line)
		}
		rows.write(&out, strings.TrimSpace(line))
	}
	return encodeText(frames[0][0], out.Bytes())
}

func isSum(name string) bool {
	if infoSums[name] {
		return true
	}
	return !infoNoSums[name] && slices.ContainsFunc(infoSumPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// humanSize formats a size like a server.
func humanSize(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	size, unit := float64(n)/1024, 0
	for size >= 1024 && unit < 4 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.2f%c", size, "KMGTP"[unit])
}

// textOf returns the text of a bulk string or of a verbatim string.
func textOf(frame []byte) (text []byte, ok bool) {
	h, err := resp.ReadHead(frame)
	return h.Str, err == nil && !h.Null && (h.Kind == resp.BulkString || h.Kind == resp.Verbatim)
}

// encodeText encodes a text as a bulk string, or as a verbatim string if that is its kind.
func encodeText(kind byte, text []byte) []byte {
	if kind != byte(resp.Verbatim) {
		return resp.AppendBulk(nil, text)
	}
	return fmt.Appendf(nil, "=%d\r\ntxt:%s\r\n", len("txt:")+len(text), text)
}
