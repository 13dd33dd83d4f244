package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestTheCommittedTableIsUpToDate(t *testing.T) {
	data, err := os.ReadFile("../commands.json")
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../table_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		source, err := generate(data)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(source, committed) {
			t.Fatal("table_gen.go differs from what the generator writes: run go generate")
		}
	}
}

func TestTheGeneratorStopsAtWhatItCannotJudge(t *testing.T) {
	data, err := os.ReadFile("../commands.json")
	if err != nil {
		t.Fatal(err)
	}
	list := strings.TrimSuffix(strings.TrimSpace(string(data)), "]")
	for _, c := range []struct{ what, added, want string }{
		{"a command without a class", `{"name":"NEW","arity":1,"flags":["fast"]}`, "NEW has no class"},
		{"a subcommand of CLIENT without a class", `{"name":"CLIENT NEW","arity":2}`, "CLIENT NEW has no class"},
		{"a blocking command without timeout", `{"name":"BNEW","arity":3,"flags":["write","blocking"]}`, "BNEW: its flag"},
		{"a command twice", `{"name":"GET","arity":2,"flags":["readonly"]}`, "GET is there twice"},
		{"a subcommand without container", `{"name":"NEW SUB","arity":2,"flags":["readonly"]}`, "NEW SUB has no container"},
		{"keys without an end", `{"name":"NEW","arity":2,"flags":["readonly"],"keys":[{"begin":{"index":{"pos":1}}}]}`,
			"NEW: nothing says how many keys"},
		{"an unknown request policy", `{"name":"NEW","arity":2,"flags":["readonly"],"tips":["request_policy:new"]}`,
			`NEW: its tip "request_policy:new" is unknown`},
		{"an unknown response policy", `{"name":"NEW","arity":2,"flags":["readonly"],"tips":["response_policy:new"]}`,
			`NEW: its tip "response_policy:new" is unknown`},
		{"keys far from their count", `{"name":"NEW","arity":2,"flags":["readonly"],"keys":[{"begin":{"index":{"pos":1}},
			"find":{"keynum":{"keynumidx":0,"firstkey":2,"step":1}}}]}`, "NEW: its count of keys"},
	} {
		if _, err := generate([]byte(list + "," + c.added + "]")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.what, err, c.want)
		}
	}
	if _, err := generate([]byte(`[]`)); err == nil || !strings.Contains(err.Error(), "there is no command") {
		t.Errorf("rules for missing commands: %v", err)
	}
	if _, err := generate([]byte(`{`)); err == nil {
		t.Error("broken JSON is no error")
	}
}
