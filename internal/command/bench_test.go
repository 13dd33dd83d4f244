package command_test

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

func BenchmarkLookup(b *testing.B) {
	for _, name := range []string{"GET", "get", "ZADD", "EXPIRE", "HGETALL", "XREADGROUP", "GEORADIUSBYMEMBER_RO", "JSON.GET"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				command.Lookup(name)
			}
		})
	}
}

func BenchmarkLookupBytes(b *testing.B) {
	name := []byte("GET")
	b.ReportAllocs()
	for b.Loop() {
		command.LookupBytes(name)
	}
}

func BenchmarkLookupSub(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		command.LookupSub("CLUSTER", "SLOTS")
	}
}

func BenchmarkClassify(b *testing.B) {
	for _, c := range []struct {
		name string
		args []any
	}{
		{"GET", []any{"GET", "key"}},
		{"SET", []any{"SET", "key", []byte("value"), "EX", 60}},
		{"OBJECT", []any{"OBJECT", "ENCODING", "key"}},
		{"XREAD", []any{"XREAD", "COUNT", 10, "BLOCK", 1000, "STREAMS", "key", "$"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				command.Classify(c.args)
			}
		})
	}
}
