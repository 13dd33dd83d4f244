package multislot_test

import (
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// interpreter executes the commands that can be divided on keys in memory, as a server does.
type interpreter struct {
	proto   int
	strings map[string]string
	streams map[string][]int // the sequence numbers of the entries
}

func (m *interpreter) null(resp2 string) string {
	if m.proto == 3 {
		return "_\r\n"
	}
	return resp2
}

// run executes a command and returns the reply.
func (m *interpreter) run(args [][]byte) []byte {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = string(a)
	}
	n := int64(0)
	switch keys := words[1:]; words[0] {
	case "MGET":
		frame := resp.AppendArrayHeader(nil, len(keys))
		for _, k := range keys {
			if v, ok := m.strings[k]; ok {
				frame = resp.AppendBulkString(frame, v)
			} else {
				frame = append(frame, m.null("$-1\r\n")...)
			}
		}
		return frame
	case "MSET":
		for i := 0; i < len(keys); i += 2 {
			m.strings[keys[i]] = keys[i+1]
		}
		return []byte("+OK\r\n")
	case "DEL", "UNLINK":
		for _, k := range keys {
			if _, ok := m.strings[k]; ok {
				n++
			}
			delete(m.strings, k)
		}
	case "EXISTS", "TOUCH":
		for _, k := range keys {
			if _, ok := m.strings[k]; ok {
				n++
			}
		}
	case "XREAD":
		return m.xread(words)
	default:
		return []byte("-ERR unknown command\r\n")
	}
	return resp.AppendInteger(nil, n)
}

// xread executes XREAD [COUNT n] STREAMS key... id...
func (m *interpreter) xread(words []string) []byte {
	count, at := 1<<30, 1
	if words[1] == "COUNT" {
		count, _ = strconv.Atoi(words[2])
		at = 3
	}
	keys := words[at+1:]
	half := len(keys) / 2
	var found strings.Builder
	n := 0
	for i, key := range keys[:half] {
		after, _ := strconv.Atoi(strings.TrimSuffix(keys[half+i], "-0"))
		var entries [][]byte
		for _, id := range m.streams[key] {
			if id > after && len(entries) < count {
				entry := resp.AppendBulkString(resp.AppendArrayHeader(nil, 2), strconv.Itoa(id)+"-0")
				entries = append(entries, append(entry, "*2\r\n$1\r\nf\r\n$1\r\nv\r\n"...))
			}
		}
		if len(entries) == 0 {
			continue
		}
		n++
		head := resp.AppendBulkString(nil, key)
		if m.proto == 2 {
			head = append([]byte("*2\r\n"), head...)
		}
		found.Write(resp.AppendArrayHeader(head, len(entries)))
		for _, e := range entries {
			found.Write(e)
		}
	}
	switch {
	case n == 0:
		return []byte(m.null("*-1\r\n"))
	case m.proto == 3:
		return []byte("%" + strconv.Itoa(n) + "\r\n" + found.String())
	}
	return []byte("*" + strconv.Itoa(n) + "\r\n" + found.String())
}
