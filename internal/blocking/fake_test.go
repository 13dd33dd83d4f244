package blocking

import (
	"fmt"
	"strconv"

	"github.com/seed-2b0d76a6/respool/resp"
)

// listServer is a server in memory that has only lists, in one database.
type listServer struct {
	lists   map[string][]string
	touched func(key string) // a key has changed
	old     bool             // a server before Redis 6.2: it lacks LMPOP, and LPOP takes no count
	wrong   map[string]bool  // keys that hold another type
}

const wrongType = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

func (s *listServer) run(args [][]byte) []byte {
	name, key := string(args[0]), string(args[1])
	if s.wrong[key] {
		return []byte(wrongType)
	}
	switch name {
	case "LPOP", "RPOP":
		if len(args) == 2 {
			popped := s.pop(key, name[0] == 'L', 1)
			if len(popped) == 0 {
				return []byte("$-1\r\n")
			}
			return resp.AppendBulkString(nil, popped[0])
		}
		if s.old {
			return []byte("-ERR wrong number of arguments for 'lpop' command\r\n")
		}
		n, _ := strconv.Atoi(string(args[2]))
		return texts(s.pop(key, name[0] == 'L', n))
	case "LMPOP":
		return s.mpop(args)
	case "LMOVE":
		if s.wrong[string(args[2])] && len(s.lists[key]) > 0 {
			return []byte(wrongType)
		}
		moved := s.pop(key, is(args[3], "LEFT"), 1)
		if len(moved) == 0 {
			return []byte("$-1\r\n")
		}
		s.push(string(args[2]), is(args[4], "LEFT"), moved[0])
		return resp.AppendBulkString(nil, moved[0])
	case "LPUSH", "RPUSH":
		for _, e := range args[2:] {
			s.push(key, name == "LPUSH", string(e))
		}
		return resp.AppendInteger(nil, int64(len(s.lists[key])))
	case "LLEN":
		return resp.AppendInteger(nil, int64(len(s.lists[key])))
	}
	panic(fmt.Sprintf("unexpected command %s", name))
}

func (s *listServer) mpop(args [][]byte) []byte {
	if s.old {
		return []byte("-ERR unknown command `LMPOP`, with args beginning with: \r\n")
	}
	n, _ := strconv.Atoi(string(args[1]))
	count := 1
	if len(args) > n+3 {
		count, _ = strconv.Atoi(string(args[n+4]))
	}
	for _, key := range args[2 : 2+n] {
		if s.wrong[string(key)] {
			return []byte(wrongType)
		}
		if popped := s.pop(string(key), is(args[2+n], "LEFT"), count); len(popped) > 0 {
			return append(resp.AppendBulk(resp.AppendArrayHeader(nil, 2), key), texts(popped)...)
		}
	}
	return []byte("*-1\r\n")
}

func texts(elements []string) []byte {
	if len(elements) == 0 {
		return []byte("*-1\r\n")
	}
	b := resp.AppendArrayHeader(nil, len(elements))
	for _, e := range elements {
		b = resp.AppendBulkString(b, e)
	}
	return b
}

func (s *listServer) pop(key string, fromLeft bool, n int) (popped []string) {
	list := s.lists[key]
	for ; n > 0 && len(list) > 0; n-- {
		if fromLeft {
			popped, list = append(popped, list[0]), list[1:]
		} else {
			popped, list = append(popped, list[len(list)-1]), list[:len(list)-1]
		}
	}
	s.lists[key] = list
	return popped
}

func (s *listServer) push(key string, toLeft bool, element string) {
	if toLeft {
		s.lists[key] = append([]string{element}, s.lists[key]...)
	} else {
		s.lists[key] = append(s.lists[key], element)
	}
	if s.touched != nil {
		s.touched(key)
	}
}

// elementsOf returns the key and the elements in a reply of a blocking command.
func elementsOf(reply []byte) (key string, elements []string) {
	v, _, err := resp.Decode(reply)
	switch {
	case err != nil || v.Null || v.Kind == resp.SimpleError:
		return "", nil
	case v.Kind == resp.BulkString:
		return "", []string{string(v.Str)}
	}
	for _, e := range v.Elems[1:] {
		if e.Kind == resp.BulkString {
			elements = append(elements, string(e.Str))
		}
		for _, inner := range e.Elems {
			elements = append(elements, string(inner.Str))
		}
	}
	return string(v.Elems[0].Str), elements
}
