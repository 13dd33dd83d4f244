package session_test

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// query formats the fields that are set.
func query(q *session.Query) string {
	words := []string{q.Op.String()}
	v := reflect.ValueOf(*q)
	for i := 1; i < v.NumField(); i++ {
		if f := v.Field(i); !f.IsZero() {
			words = append(words, fmt.Sprintf("%s=%v", v.Type().Field(i).Name, f.Interface()))
		}
	}
	return strings.Join(words, " ")
}

// show formats requests like the input lines.
func show(raw []byte) string {
	var all []string
	for len(raw) > 0 {
		n, err := resp.FrameLen(raw)
		if err != nil {
			return strconv.Quote(string(raw))
		}
		elements, _ := resp.Elements(raw[:n])
		var words []string
		for _, e := range elements {
			text, _ := resp.StringOf(e)
			word := string(text)
			if q := strconv.Quote(word); word == "" || len(q) > len(word)+2 || strings.Contains(word, " ") {
				word = q
			}
			words = append(words, word)
		}
		all, raw = append(all, strings.Join(words, " ")), raw[n:]
	}
	return "{" + strings.Join(all, " | ") + "}"
}

// words splits a line into words. A quoted word may contain any character.
func words(line string) ([]string, error) {
	var all []string
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] != '"' {
			word, rest, _ := strings.Cut(line, " ")
			all, line = append(all, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, err
		}
		word, _ := strconv.Unquote(quoted)
		all, line = append(all, word), line[len(quoted):]
	}
	return all, nil
}

// request returns a request in canonical form and its arguments.
func request(words ...string) (raw []byte, args [][]byte) {
	raw = resp.AppendArrayHeader(nil, len(words))
	for _, word := range words {
		raw = resp.AppendBulkString(raw, word)
		args = append(args, []byte(word))
	}
	return raw, args
}
