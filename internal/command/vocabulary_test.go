package command_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// array is one of frames.
func array(frames ...string) string {
	return fmt.Sprintf("*%d\r\n%s", len(frames), strings.Join(frames, ""))
}

// words is an array of texts.
func words(text string) string {
	var frames []string
	for _, w := range strings.Fields(text) {
		frames = append(frames, "+"+w+"\r\n")
	}
	return array(frames...)
}

func word(text string) string    { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }
func number(n int) string        { return fmt.Sprintf(":%d\r\n", n) }
func pairs(kv ...string) string  { return array(kv...) }
func pairs3(kv ...string) string { return fmt.Sprintf("%%%d\r\n%s", len(kv)/2, strings.Join(kv, "")) }

// entry is what COMMAND tells of a command; first to step are its keys.
func entry(name string, arity int, flags string, first, last, step int, categories string, more ...string) string {
	frames := []string{word(name), number(arity), words(flags), number(first), number(last), number(step), words(categories)}
	return array(append(frames, more...)...)
}

func read(t *testing.T, frames ...string) *command.Vocabulary {
	t.Helper()
	v, err := command.ReadVocabulary([]byte(array(frames...)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func args(line string) (list []any) {
	for _, w := range strings.Fields(line) {
		list = append(list, w)
	}
	return list
}

func TestWhatAServerTellsOfACommandIsLearned(t *testing.T) {
	v := read(t,
		entry("get", 3, "write", 9, 9, 1, ""), // the table knows better
		entry("json.get", -2, "readonly module", 1, 1, 1, ""),
		entry("json.mset", -4, "write denyoom module movablekeys", 1, -1, 3, ""),
		entry("bqpop", 3, "write blocking", 1, -2, 1, "@write @blocking"),
		entry("acquit", -1, "noscript loading stale", 0, 0, 0, "@connection"),
		entry("strange", 2, "admin noscript", 0, 0, 0, "@admin @dangerous"),
	)
	for _, c := range []struct {
		line  string
		want  string
		class command.Class
		keys  int // number of key specifications
	}{
		{"json.get k", "JSON.GET", command.Multiplexed, 1},
		{"JSON.MSET a $ 1", "JSON.MSET", command.Multiplexed, 0}, // movable, and servers before 7.0 do not tell how
		{"BQPOP a 0", "BQPOP", command.Blocking, 1},
		{"ACQUIT", "ACQUIT", command.Unknown, 0},
		{"STRANGE x", "STRANGE", command.Unknown, 0},
		{"GET k", "", 0, 0},
		{"NOSUCH k", "", 0, 0},
		{"", "", 0, 0},
	} {
		info := v.Find(args(c.line))
		if raw, _ := toBytes(args(c.line)); v.FindBytes(raw) != info {
			t.Errorf("%s: it differs in bytes", c.line)
		}
		if nameOf(info) != c.want {
			t.Errorf("%s: found %v", c.line, info)
			continue
		}
		if info == nil {
			continue
		}
		if info.Class != c.class || len(info.Keys) != c.keys {
			t.Errorf("%s: %s, keys %+v", c.line, info.Class, info.Keys)
		}
	}
	if info := v.Find(args("json.get k")); info.Arity != -2 || !info.ReadOnly || info.Write || info.Admin {
		t.Errorf("JSON.GET is %+v", info)
	}
	if info := v.Find(args("strange")); info.Arity != 2 || !info.Admin || info.ReadOnly {
		t.Errorf("STRANGE is %+v", info)
	}
}

func TestKeySpecificationsAreLearned(t *testing.T) {
	for protocol, pairs := range map[int]func(...string) string{2: pairs, 3: pairs3} {
		spec := func(begin, find string) string {
			return pairs(word("flags"), words("RW"), word("begin_search"), begin, word("find_keys"), find)
		}
		index := func(n int) string {
			return pairs(word("type"), word("index"), word("spec"), pairs(word("index"), number(n)))
		}
		keyword := func(name string, from int) string {
			return pairs(word("type"), word("keyword"), word("spec"), pairs(word("keyword"), word(name), word("startfrom"), number(from)))
		}
		span := func(last, step, limit int) string {
			return pairs(word("type"), word("range"), word("spec"),
				pairs(word("lastkey"), number(last), word("keystep"), number(step), word("limit"), number(limit)))
		}
		counted := func(at, first, step int) string {
			return pairs(word("type"), word("keynum"), word("spec"),
				pairs(word("keynumidx"), number(at), word("firstkey"), number(first), word("keystep"), number(step)))
		}
		vague := pairs(word("type"), word("unknown"), word("spec"), pairs())
		for _, c := range []struct {
			specs   []string
			want    []command.KeySpec
			movable bool
		}{
			{[]string{spec(index(1), span(0, 1, 0))}, []command.KeySpec{{Begin: 1, Step: 1}}, false},
			{[]string{spec(index(2), span(-1, 2, 0)), spec(index(1), span(0, 1, 0))}, []command.KeySpec{{Begin: 2, Last: -1, Step: 2}, {Begin: 1, Step: 1}}, false},
			{[]string{spec(index(1), counted(0, 1, 2))}, []command.KeySpec{{Begin: 1, Counted: true, Step: 2}}, true},
			{[]string{spec(keyword("streams", -2), span(-1, 1, 2))}, []command.KeySpec{{Keyword: "STREAMS", Begin: -2, Last: -1, Step: 1, Limit: 2}}, true},
			{[]string{spec(index(1), counted(1, 2, 1))}, nil, true},
			{[]string{spec(vague, vague)}, nil, true},
			{[]string{spec(index(1000), span(0, 1, 0))}, nil, true},
			{[]string{spec(keyword("streams", 1000), span(-1, 1, 2))}, nil, true},
			{[]string{spec(keyword("two words", 1), span(-1, 1, 2))}, nil, true},
			{[]string{spec(index(1), vague)}, nil, true},
			{[]string{spec(index(1), span(0, 0, 0))}, nil, true},
			{[]string{number(5)}, nil, true},
			{nil, []command.KeySpec{{Begin: 1, Last: 1, Step: 1}}, false}, // as older servers tell
		} {
			v := read(t, entry("new", -2, "write", 1, 2, 1, "", array(), array(c.specs...), array()))
			info := v.Find(args("new"))
			if info == nil || !reflect.DeepEqual(info.Keys, c.want) || info.Movable != c.movable {
				t.Errorf("RESP%d: %q: %+v", protocol, c.specs, info)
			}
		}
	}
}

func TestSubcommandsAreLearned(t *testing.T) {
	v := read(t,
		entry("journal", -2, "", 0, 0, 0, "", array(), array(), array(
			entry("journal|get", 3, "readonly", 2, 2, 1, ""),
			entry("journal|reset", 2, "admin", 0, 0, 0, "@admin"),
			entry("broken", 2, "admin", 0, 0, 0, ""), number(1), entry("journal|", 2, "", 0, 0, 0, ""),
		)),
		entry("xinfo", -2, "", 0, 0, 0, "", array(), array(), array(
			entry("xinfo|stream", -3, "write", 2, 2, 1, ""), entry("xinfo|newer", 3, "readonly", 2, 2, 1, ""))),
	)
	for line, want := range map[string]string{
		"JOURNAL": "JOURNAL", "journal Get k": "JOURNAL GET", "JOURNAL RESET": "JOURNAL RESET", "JOURNAL NEWER": "JOURNAL",
		"xinfo newer k": "XINFO NEWER", "XINFO STREAM k": "", "XINFO": "", "XINFO NOSUCH": "", "JOURNAL BROKEN": "JOURNAL",
	} {
		if info := v.Find(args(line)); nameOf(info) != want {
			t.Errorf("%s: %v, want %q", line, info, want)
		}
	}
	if info := v.Find(args("JOURNAL GET k")); info.Class != command.Multiplexed || !info.ReadOnly || info.Arity != 3 {
		t.Errorf("%+v", info)
	}
	if info := v.Find(args("JOURNAL RESET")); info.Class != command.Unknown || !info.Admin {
		t.Errorf("%+v", info)
	}
}

func TestWhatMakesNoSenseIsLeftOut(t *testing.T) {
	v := read(t,
		number(5), array(), "*-1\r\n", "_\r\n", array(number(1)), array(word("a"), number(1)),
		entry("zero", 0, "write", 1, 1, 1, ""), entry("huge", 1<<40, "write", 1, 1, 1, ""), entry("", 1, "write", 0, 0, 0, ""),
		entry("two words", 1, "write", 0, 0, 0, ""), entry("a|b", 1, "write", 0, 0, 0, ""), entry(strings.Repeat("x", command.MaxName+1), 1, "write", 0, 0, 0, ""),
		array(word("text"), word("2"), words("write"), number(1), number(1), number(1), words("")),
		entry("both", 2, "write readonly", 1, 1, 1, ""),
	)
	if info := v.Find(args("both")); info == nil || info.Class != command.Unknown || info.ReadOnly || v.Len() != 1 {
		t.Errorf("%d are known, and of one that reads and writes %+v", v.Len(), info)
	}
	for _, reply := range []string{"+OK\r\n", "*1\r\n", "", "-NOPERM no\r\n", "*-1"} {
		if v, err := command.ReadVocabulary([]byte(reply)); err == nil {
			t.Errorf("%q gives %v", reply, v)
		}
	}
}

func TestWhatIsLearnedIsBounded(t *testing.T) {
	var many []string
	for i := range 5000 {
		many = append(many, entry(fmt.Sprintf("new%d", i), 2, "write", 1, 1, 1, ""))
	}
	v := read(t, many...)
	if v.Len() != 4096 {
		t.Errorf("%d are kept", v.Len())
	}
	if more := v.With(command.FromFlags("MORE", []string{"write"}, nil)); more.Find(args("MORE")) != nil {
		t.Error("one more is kept")
	}
	var subs []string
	for i := range 1000 {
		subs = append(subs, entry(fmt.Sprintf("new|s%d", i), 2, "write", 1, 1, 1, ""))
	}
	v = read(t, entry("new", -2, "", 0, 0, 0, "", array(), array(), array(subs...)))
	if nameOf(v.Find(args("new s255"))) != "NEW S255" || nameOf(v.Find(args("new s256"))) != "NEW" {
		t.Error("256 subcommands are to be kept")
	}
	if _, err := command.ReadVocabulary([]byte(word(strings.Repeat("x", 5<<20)))); err == nil {
		t.Error("a large reply is read")
	}
}

func TestQueryNames(t *testing.T) {
	for line, want := range map[string]string{
		"json.get k": "JSON.GET", "GET k": "", "XINFO": "", "xinfo newer": "XINFO|NEWER", "XINFO STREAM": "", "CLIENT NEW": "CLIENT|NEW",
		"a|b": "", "": "", "xinfo a|b": "",
	} {
		name, ok := command.QueryName(args(line))
		if name != want && ok || ok != (want != "") {
			t.Errorf("%q: %q, %t", line, name, ok)
		}
	}
	for _, arg := range []any{nil, 5, "", "a\x00b", "a b", strings.Repeat("x", 65), []string{"a"}} {
		if name, ok := command.QueryName([]any{arg}); ok {
			t.Errorf("%q: %q", arg, name)
		}
	}
	if name, ok := command.QueryName([]any{text("new"), 1}); name != "NEW" || !ok {
		t.Errorf("%q, %t", name, ok)
	}
}

func TestReadInfo(t *testing.T) {
	for _, c := range []struct {
		name, reply, want string
		fails             bool
	}{
		{"MYGET", array(entry("get", 2, "readonly", 1, 1, 1, "")), "MYGET", false},
		{"XINFO|NEWER", array(entry("xinfo|newer", 2, "readonly", 2, 2, 1, "")), "XINFO NEWER", false},
		{"NOSUCH", array("*-1\r\n"), "", false},
		{"NOSUCH", array("_\r\n"), "", false},
		{"NOSUCH", array(), "", false},
		{"NOSUCH", array(number(3)), "", true},
		{"NOSUCH", "*1\r\n", "", true},
		{"NOSUCH", word(strings.Repeat("x", 2<<20)), "", true},
	} {
		info, err := command.ReadInfo(c.name, []byte(c.reply))
		if nameOf(info) != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %.50q: %v, %v", c.name, c.reply, info, err)
		}
	}
}

func TestNothingAllocatesWhereALearnedCommandIsFound(t *testing.T) {
	v := read(t, entry("json.get", -2, "readonly", 1, 1, 1, ""))
	raw := [][]byte{[]byte("json.get"), []byte("k")}
	key := "k"
	for what, run := range map[string]func(){
		"Find":      func() { v.Find([]any{"json.get", key}) },
		"FindBytes": func() { v.FindBytes(raw) },
	} {
		if allocs := testing.AllocsPerRun(100, run); allocs != 0 {
			t.Errorf("%s: %v allocations", what, allocs)
		}
	}
}

// Vocabularies are not changed: With makes another one, and the first stays as it was.
func TestAVocabularyIsNotChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v *command.Vocabulary
		known := map[string]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			name := rapid.StringMatching(`[A-Z]{1,3}\.[A-Z]`).Draw(t, "name")
			before, was := v.Len(), v.Find(args(name)) != nil
			next := v.With(command.FromFlags(name, []string{"write"}, nil))
			if v.Len() != before || (v.Find(args(name)) != nil) != was || was != known[name] {
				t.Fatalf("%s has changed a vocabulary", name)
			}
			known[name] = true
			v = next
		}
		for name := range known {
			if nameOf(v.Find(args(strings.ToLower(name)))) != name {
				t.Fatalf("%s is lost", name)
			}
		}
		if v.Len() != len(known) {
			t.Fatalf("%d are known, want %d", v.Len(), len(known))
		}
	})
}

// FuzzReadVocabulary reads whatever a server may tell: what is learned is sound, and nothing panics.
func FuzzReadVocabulary(f *testing.F) {
	f.Add([]byte(array(entry("json.get", -2, "readonly module", 1, 1, 1, "@read"))), "JSON.GET k")
	f.Add([]byte(array(entry("new", -2, "write", 1, 1, 1, "", array(), array(pairs(word("begin_search"), pairs(word("type"), word("index"),
		word("spec"), pairs(word("index"), number(1)))))), array(entry("new|a", 2, "admin", 0, 0, 0, "")))), "NEW A")
	f.Add([]byte("*1\r\n*10\r\n$1\r\na\r\n:1\r\n~0\r\n:-1\r\n:1\r\n:1\r\n*0\r\n*0\r\n%1\r\n+a\r\n+b\r\n_\r\n"), "a")
	f.Fuzz(func(t *testing.T, reply []byte, line string) {
		check := func(info *command.Info) {
			if info == nil {
				return
			}
			if info.Arity == 0 || info.Name == "" || info.ReadOnly && info.Write || info.Class > command.Blocking {
				t.Fatalf("%+v", info)
			}
			for _, spec := range info.Keys {
				if spec.Begin == 0 && spec.Keyword == "" || spec.Step < 1 {
					t.Fatalf("%s has keys at %+v", info.Name, spec)
				}
			}
		}
		if v, err := command.ReadVocabulary(reply); err == nil {
			check(v.Find(args(line)))
		}
		if name, ok := command.QueryName(args(line)); ok {
			if info, err := command.ReadInfo(name, reply); err == nil {
				check(info)
			}
		}
		for _, info := range command.ReadEntries(reply) {
			check(info)
		}
	})
}
