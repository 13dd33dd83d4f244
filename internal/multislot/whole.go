package multislot

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	infoInfo             = command.Lookup("INFO")
	infoSlowlogGet       = command.LookupSub("SLOWLOG", "GET")
	infoCommandlogGet    = command.LookupSub("COMMANDLOG", "GET")
	infoACLLog           = command.LookupSub("ACL", "LOG")
	infoFunctionStats    = command.LookupSub("FUNCTION", "STATS")
	infoMemoryStats      = command.LookupSub("MEMORY", "STATS")
	infoLatencyHistogram = command.LookupSub("LATENCY", "HISTOGRAM")
	infoLatencyHistory   = command.LookupSub("LATENCY", "HISTORY")
	infoLatencyLatest    = command.LookupSub("LATENCY", "LATEST")
	infoChannels         = command.LookupSub("PUBSUB", "CHANNELS")
	infoShardChannels    = command.LookupSub("PUBSUB", "SHARDCHANNELS")
	infoNumSub           = command.LookupSub("PUBSUB", "NUMSUB")
	infoShardNumSub      = command.LookupSub("PUBSUB", "SHARDNUMSUB")
	infoNumPat           = command.LookupSub("PUBSUB", "NUMPAT")
)

// MergeWhole joins the replies of all primaries to a command without keys. request is the encoded command. frames has at
// least one reply. The reply is one that a single server could return.
func MergeWhole(info *command.Info, request []byte, frames [][]byte) []byte {
	if info.Reply != command.OneSucceeded {
		if failed := firstError(frames); failed != nil {
			return failed
		}
	}
	switch info {
	case infoInfo:
		return MergeInfo(frames)
	case infoSlowlogGet, infoCommandlogGet:
		return newest(frames, entryLimit(request))
	case infoACLLog:
		return youngest(frames, entryLimit(request))
	case infoFunctionStats:
		return frames[max(0, slices.IndexFunc(frames, runsScript))]
	case infoMemoryStats:
		return frames[0]
	case infoLatencyHistogram:
		return sumHistograms(frames)
	case infoLatencyHistory:
		return sortRows(Merge(command.Joined, frames), func(a, b row) int { return cmp.Compare(a.integer(0), b.integer(0)) }, -1)
	case infoChannels, infoShardChannels:
		return distinct(Merge(command.Joined, frames))
	case infoNumSub, infoShardNumSub:
		return sumCounts(frames)
	case infoNumPat:
		return Merge(command.AggSum, frames)
	case infoLatencyLatest:
		return latest(Merge(command.Joined, frames))
	}
	return Merge(info.Reply, frames)
}

// row is an element of a reply that is an array of arrays.
type row struct {
	frame  []byte
	fields [][]byte
}

// integer returns a field of the row; 0 if it has none.
func (r row) integer(field int) int64 {
	if field >= len(r.fields) {
		return 0
	}
	h, err := resp.ReadHead(r.fields[field])
	if err != nil {
		return 0
	}
	return h.Int
}

// rowsOf returns the rows of a reply. ok is false if the reply has another form.
func rowsOf(frame []byte) (rows []row, ok bool) {
	elements, err := resp.Elements(frame)
	if err != nil {
		return nil, false
	}
	for _, e := range elements {
		fields, err := resp.Elements(e)
		if err != nil {
			return nil, false
		}
		rows = append(rows, row{e, fields})
	}
	return rows, true
}

// sortRows sorts the rows of a reply and keeps the first most of them; all if most is negative.
func sortRows(frame []byte, compare func(a, b row) int, most int) []byte {
	rows, ok := rowsOf(frame)
	if !ok {
		return frame
	}
	slices.SortStableFunc(rows, compare)
	if most >= 0 && most < len(rows) {
		rows = rows[:most]
	}
	return joinRows(rows, len(frame))
}

func joinRows(rows []row, size int) []byte {
	elements := make([][]byte, len(rows))
	for i, r := range rows {
		elements[i] = r.frame
	}
	return joinElements('*', len(elements), elements, size)
}

// newest joins the entries of slow logs, the newest first. The entries of one node keep their order.
func newest(frames [][]byte, most int) []byte {
	const timestamp = 1
	return sortRows(Merge(command.Joined, frames), func(a, b row) int { return cmp.Compare(b.integer(timestamp), a.integer(timestamp)) }, most)
}

// youngest joins the entries of logs of refused commands, the youngest first. It returns the first reply if they are no
// entries, as after ACL LOG RESET.
func youngest(frames [][]byte, most int) []byte {
	for _, f := range frames {
		if f[0] != '*' {
			return frames[0]
		}
	}
	return sortRows(Merge(command.Joined, frames), func(a, b row) int { return cmp.Compare(a.age(), b.age()) }, most)
}

// age returns the field age-seconds of an entry of ACL LOG; 0 if it has none.
func (r row) age() float64 {
	for i := 0; i+1 < len(r.fields); i += 2 {
		if name, _ := resp.StringOf(r.fields[i]); string(name) == "age-seconds" {
			h, _ := resp.ReadHead(r.fields[i+1])
			age, _ := strconv.ParseFloat(string(h.Str), 64)
			return age
		}
	}
	return 0
}

// entryLimit returns the number of entries that SLOWLOG GET, COMMANDLOG GET or ACL LOG asks for; -1 for all.
func entryLimit(request []byte) int {
	const byDefault = 10
	args, err := resp.Elements(request)
	if err != nil || len(args) < 3 {
		return byDefault
	}
	text, _ := resp.StringOf(args[2])
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return -1
	}
	return n
}

// distinct removes the repeated elements of an array.
func distinct(frame []byte) []byte {
	elements, err := resp.Elements(frame)
	if err != nil || frame[0] != '*' {
		return frame
	}
	seen := make(map[string]bool, len(elements))
	elements = slices.DeleteFunc(elements, func(e []byte) bool {
		again := seen[string(e)]
		seen[string(e)] = true
		return again
	})
	return joinElements(frame[0], len(elements), elements, len(frame))
}

// sumCounts adds the counts of replies that have a name and its count in turn. All have the same names.
func sumCounts(frames [][]byte) []byte {
	sums, err := resp.Elements(frames[0])
	if err != nil || frames[0][0] != '*' {
		return unexpected(frames[0])
	}
	for _, f := range frames[1:] {
		elements, err := resp.Elements(f)
		if err != nil || len(elements) != len(sums) {
			return unexpected(f)
		}
		for i := 1; i < len(sums); i += 2 {
			sums[i] = total([][]byte{sums[i], elements[i]}, func(a, b int64) int64 { return a + b })
		}
	}
	return joinElements('*', len(sums), sums, len(frames[0])+8*len(sums))
}

// runsScript reports whether a reply to FUNCTION STATS describes a script that runs.
func runsScript(frame []byte) bool {
	fields, _ := resp.Elements(frame)
	for ; len(fields) > 1; fields = fields[2:] {
		if name, _ := resp.StringOf(fields[0]); string(name) == "running_script" {
			return !isNull(fields[1])
		}
	}
	return false
}

// latest keeps one row for each event of LATENCY LATEST: the newest, with the maximum of all.
func latest(frame []byte) []byte {
	const name, timestamp, maximum, fields = 0, 1, 3, 4
	rows, ok := rowsOf(frame)
	if !ok || slices.ContainsFunc(rows, func(r row) bool { return len(r.fields) < fields }) {
		return frame
	}
	var kept []row
	for _, r := range rows {
		i := slices.IndexFunc(kept, func(k row) bool { return bytes.Equal(k.fields[name], r.fields[name]) })
		if i < 0 {
			kept = append(kept, row{r.frame, slices.Clone(r.fields)})
			continue
		}
		k := &kept[i]
		most := max(k.integer(maximum), r.integer(maximum))
		if r.integer(timestamp) > k.integer(timestamp) {
			k.fields = slices.Clone(r.fields)
		}
		k.fields[maximum] = resp.AppendInteger(nil, most)
		k.frame = joinElements('*', len(k.fields), k.fields, len(k.frame))
	}
	return joinRows(kept, len(frame))
}

// ScanPage joins the replies to one SCAN of a client that several primaries take. It is full with as many elements as the
// SCAN asks for.
type ScanPage struct {
	elements [][]byte
	count    int
}

// NewScanPage returns an empty page for a SCAN with these arguments.
func NewScanPage(args [][]byte) *ScanPage {
	p := &ScanPage{count: 10} // the default of servers
	for i := 2; i+1 < len(args); i++ {
		if strings.EqualFold(string(args[i]), "COUNT") {
			p.count, _ = strconv.Atoi(string(args[i+1])) // servers refuse others
		}
	}
	return p
}

// Add adds a primary's reply, and returns the primary's cursor. ok is false if the reply has another form.
func (p *ScanPage) Add(frame []byte) (cursor string, ok bool) {
	parts, err := resp.Elements(frame)
	if err != nil || len(parts) != 2 {
		return "", false
	}
	text, ok := resp.StringOf(parts[0])
	elements, err := resp.Elements(parts[1])
	if err != nil || !ok {
		return "", false
	}
	p.elements = append(p.elements, elements...)
	return string(text), true
}

// Full reports whether no further primary needs to be scanned.
func (p *ScanPage) Full() bool { return len(p.elements) >= p.count }

// Reply returns the reply to the client, with its new cursor.
func (p *ScanPage) Reply(cursor string) []byte {
	size := 0
	for _, e := range p.elements {
		size += len(e)
	}
	return append(resp.AppendBulkString([]byte("*2\r\n"), cursor), joinElements('*', len(p.elements), p.elements, size)...)
}
