package blocking

import (
	"strings"
	"testing"
	"time"
)

func join(args [][]byte) string {
	parts := make([]string, len(args))
	for i, a := range args {
		parts[i] = string(a)
	}
	return strings.Join(parts, " ")
}

func TestParse(t *testing.T) {
	const forever = time.Duration(0)
	for _, tt := range []struct {
		line, keys string
		timeout    time.Duration
		one        string // the command for the first key alone, for one wait
		all        string // the command for all keys, for three waits
	}{
		{"BLPOP a 0", "a", forever, "LPOP a", "LPOP a 3"},
		{"brpop a b 1.5", "a b", 1500 * time.Millisecond, "RPOP a", "LMPOP 2 a b RIGHT COUNT 3"},
		{"BLPOP a 0.0001", "a", time.Millisecond, "LPOP a", "LPOP a 3"},
		{"BZPOPMIN a b 2", "a b", 2 * time.Second, "ZPOPMIN a", "ZMPOP 2 a b MIN COUNT 3"},
		{"BZPOPMAX a 0", "a", forever, "ZPOPMAX a", "ZPOPMAX a 3"},
		{"BLMPOP 1 2 a b left", "a b", time.Second, "LMPOP 1 a LEFT", "LMPOP 2 a b LEFT"},
		{"BLMPOP 0 1 a RIGHT count 5", "a", forever, "LMPOP 1 a RIGHT COUNT 5", "LMPOP 1 a RIGHT COUNT 5"},
		{"BZMPOP 0 2 a b MAX COUNT 5", "a b", forever, "ZMPOP 1 a MAX COUNT 5", "ZMPOP 2 a b MAX COUNT 5"},
		{"BLMOVE a b LEFT right 1", "a", time.Second, "LMOVE a b LEFT right", "LMOVE a b LEFT right"},
		{"BRPOPLPUSH a b 1", "a", time.Second, "RPOPLPUSH a b", "RPOPLPUSH a b"},
		{"XREAD BLOCK 5 STREAMS s 1-1", "s", 5 * time.Millisecond, "XREAD STREAMS s 1-1", "XREAD STREAMS s 1-1"},
		{
			"XREAD block 9 COUNT 2 BLOCK 0 streams s r 1 2", "s r", forever,
			"XREAD COUNT 2 streams s 1", "XREAD COUNT 2 streams s r 1 2",
		},
		{
			"XREADGROUP GROUP g BLOCK COUNT 1 BLOCK 7 NOACK STREAMS s >", "s", 7 * time.Millisecond,
			"XREADGROUP GROUP g BLOCK COUNT 1 NOACK STREAMS s >", "XREADGROUP GROUP g BLOCK COUNT 1 NOACK STREAMS s >",
		},
		{"XREADGROUP GROUP STREAMS COUNT BLOCK 0 STREAMS s >", "s", forever, "XREADGROUP GROUP STREAMS COUNT STREAMS s >", "XREADGROUP GROUP STREAMS COUNT STREAMS s >"},
	} {
		form, ok := Parse(words(tt.line))
		if !ok {
			t.Errorf("%s: Parse refuses it", tt.line)
			continue
		}
		var c commands
		if got := join(form.Keys()); got != tt.keys {
			t.Errorf("%s: keys %q: want %q", tt.line, got, tt.keys)
		}
		if got := form.Timeout(); got != tt.timeout {
			t.Errorf("%s: timeout %v: want %v", tt.line, got, tt.timeout)
		}
		if got := join(c.take(form, form.Keys()[:1], 1)); got != tt.one {
			t.Errorf("%s: for one key %q: want %q", tt.line, got, tt.one)
		}
		if got := join(c.take(form, form.Keys(), 3)); got != tt.all {
			t.Errorf("%s: for all keys %q: want %q", tt.line, got, tt.all)
		}
		if name := strings.ToUpper(strings.Fields(tt.line)[0]); form.Command() != name {
			t.Errorf("%s: command %s: want %s", tt.line, form.Command(), name)
		}
	}
}

// The server has to see commands that it refuses, and those that this package does not understand.
func TestParseRefusesOtherCommands(t *testing.T) {
	for _, line := range []string{
		"", "GET a", "BLPOP", "BLPOP a", "BLPOP a x", "BLPOP a -1", "BLPOP a 0x10", "BLPOP a 1e3", "BLPOP a inf", "BLPOP a .",
		"BLPOP a 1.2.3", "BLPOP a 99999999999999", "BLMOVE a b LEFT UP 0", "BLMOVE a b LEFT RIGHT", "BRPOPLPUSH a 0",
		"BLMPOP 0 2 a LEFT", "BLMPOP 0 0 LEFT a", "BLMPOP 0 1 a UP", "BLMPOP 0 1 a LEFT COUNT", "BLMPOP 0 1 a LEFT COUNT 0",
		"BLMPOP 0 1 a LEFT COUNT 1 x", "BLMPOP 0 x a LEFT", "BLMPOP 0 01 a LEFT", "BZMPOP 0 1 a LEFT",
		"XREAD STREAMS s 0", "XREAD BLOCK x STREAMS s 0", "XREAD BLOCK -1 STREAMS s 0", "XREAD BLOCK 0 STREAMS s",
		"XREAD BLOCK 0 STREAMS s r 0", "XREAD BLOCK 0 NOACK STREAMS s 0", "XREAD BLOCK 0 GROUP g c STREAMS s 0",
		"XREADGROUP BLOCK 0 COUNT 1 STREAMS s >", "XREADGROUP GROUP g c BLOCK 0 CLAIM 5 STREAMS s >", "WAIT 1 0", "NOSUCH a 0",
	} {
		if form, ok := Parse(words(line)); ok {
			t.Errorf("%s: Parse accepts it as %s", line, form.Command())
		}
	}
}

func TestFormsKeepNoArguments(t *testing.T) {
	args := words("BLPOP key 0")
	form, _ := Parse(args)
	args[1][0] = 'X'
	if got := join(form.Keys()); got != "key" {
		t.Errorf("the key is %q after the caller reused its memory", got)
	}
}

func TestOldServersGetNoCountAndOneKey(t *testing.T) {
	form, _ := Parse(words("BLPOP a b 0"))
	old := commands{noMPop: true, noCount: true}
	if old.batches(form) || old.most(form) != 1 {
		t.Error("a server before Redis 6.2 gets a command for several keys or waits")
	}
	zset, _ := Parse(words("BZPOPMIN a b 0"))
	if old.batches(zset) || old.most(zset) == 1 {
		t.Error("ZPOPMIN takes a count since 5.0, and one key")
	}
}

func TestReplies(t *testing.T) {
	for _, tt := range []struct {
		line   string
		keys   int // that the command covers
		n      int
		reply  string
		first  string // the reply to the first wait; empty: no data
		back   string // the command that returns the elements, or the rest after the first wait
		failed bool
	}{
		{line: "BLPOP a 0", keys: 1, n: 1, reply: "$1\r\nx\r\n", first: "*2\r\n$1\r\na\r\n$1\r\nx\r\n"},
		{line: "BLPOP a 0", keys: 1, n: 1, reply: "_\r\n"},
		{line: "BLPOP a 0", keys: 1, n: 2, reply: "$-1\r\n"},
		{line: "BLPOP a 0", keys: 1, n: 2, reply: "*-1\r\n"},
		{
			line: "BLPOP a 0", keys: 1, n: 3, reply: "*3\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n",
			first: "*2\r\n$1\r\na\r\n$1\r\nx\r\n", back: "LPUSH a z y",
		},
		{
			line: "BRPOP a b 0", keys: 2, n: 3, reply: "*2\r\n$1\r\nb\r\n*2\r\n$1\r\nz\r\n$1\r\ny\r\n",
			first: "*2\r\n$1\r\nb\r\n$1\r\nz\r\n", back: "RPUSH b y",
		},
		{
			line: "BZPOPMIN a 0", keys: 1, n: 2, reply: "*4\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\ny\r\n$3\r\n2.5\r\n",
			first: "*3\r\n$1\r\na\r\n$1\r\nx\r\n$1\r\n1\r\n", back: "ZADD a NX 2.5 y",
		},
		{
			line: "BZPOPMIN a 0", keys: 1, n: 2, reply: "*2\r\n*2\r\n$1\r\nx\r\n,1\r\n*2\r\n$1\r\ny\r\n,-inf\r\n",
			first: "*3\r\n$1\r\na\r\n$1\r\nx\r\n,1\r\n", back: "ZADD a NX -inf y",
		},
		{line: "BZPOPMIN a 0", keys: 1, n: 1, reply: "*0\r\n"},
		{line: "BZPOPMIN a 0", keys: 1, n: 1, reply: "*2\r\n$1\r\nx\r\n,1\r\n", first: "*3\r\n$1\r\na\r\n$1\r\nx\r\n,1\r\n"},
		{
			line: "BLMPOP 0 1 a LEFT COUNT 2", keys: 1, n: 1, reply: "*2\r\n$1\r\na\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
			first: "*2\r\n$1\r\na\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
		},
		{
			line: "BZMPOP 0 1 a MIN", keys: 1, n: 1, reply: "*2\r\n$1\r\na\r\n*1\r\n*2\r\n$1\r\nx\r\n,1\r\n",
			first: "*2\r\n$1\r\na\r\n*1\r\n*2\r\n$1\r\nx\r\n,1\r\n",
		},
		{line: "BLMOVE a b LEFT LEFT 0", keys: 1, n: 1, reply: "$1\r\nx\r\n", first: "$1\r\nx\r\n"},
		{line: "XREAD BLOCK 0 STREAMS s 0", keys: 1, n: 1, reply: "*0\r\n", first: "*0\r\n"},

		{line: "BLPOP a 0", keys: 1, n: 1, reply: "+OK\r\n", failed: true},
		{line: "BLPOP a 0", keys: 1, n: 1, reply: "$5\r\nx\r\n", failed: true},
		{line: "BLPOP a 0", keys: 1, n: 1, reply: "$1\r\nx\r\n$1\r\ny\r\n", failed: true},
		{line: "BLPOP a 0", keys: 1, n: 2, reply: "*1\r\n:1\r\n", failed: true},
		{line: "BLPOP a 0", keys: 1, n: 2, reply: "*1\r\n$-1\r\n", failed: true},
		{line: "BLPOP a b 0", keys: 2, n: 1, reply: "*2\r\n$1\r\na\r\n$1\r\nx\r\n", failed: true},
		{line: "BLPOP a b 0", keys: 2, n: 1, reply: "*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", failed: true},
		{line: "BZPOPMIN a 0", keys: 1, n: 1, reply: "*1\r\n$1\r\nx\r\n", failed: true},
		{line: "BZPOPMIN a 0", keys: 1, n: 1, reply: "*1\r\n*1\r\n$1\r\nx\r\n", failed: true},
		{line: "BZPOPMIN a 0", keys: 1, n: 1, reply: "*2\r\n$1\r\nx\r\n:1\r\n", failed: true},
		{line: "BLMOVE a b LEFT LEFT 0", keys: 1, n: 1, reply: ":1\r\n", failed: true},
		{line: "XREAD BLOCK 0 STREAMS s 0", keys: 1, n: 1, reply: ":1\r\n", failed: true},
		{line: "BLPOP a 0", keys: 1, n: 1, reply: "", failed: true},
	} {
		form, _ := Parse(words(tt.line))
		d, err := form.parse([]byte(tt.reply), form.Keys()[:tt.keys], tt.n)
		switch {
		case (err != nil) != tt.failed:
			t.Errorf("%s: %q: error %v", tt.line, tt.reply, err)
		case err != nil || d.none && tt.first == "":
		case d.none:
			t.Errorf("%s: %q has no data", tt.line, tt.reply)
		default:
			if got := string(form.serve(&d)); got != tt.first {
				t.Errorf("%s: %q becomes %q: want %q", tt.line, tt.reply, got, tt.first)
			}
			if tt.back == "" {
				if len(d.items) > 0 {
					t.Errorf("%s: %q leaves %q", tt.line, tt.reply, d.items)
				}
				continue
			}
			if got, err := giveBack(form, d.key, d.items); err != nil || join(got) != tt.back {
				t.Errorf("%s: %q goes back with %q, %v: want %q", tt.line, tt.reply, got, err, tt.back)
			}
		}
	}
}

func FuzzReplies(f *testing.F) {
	lines := []string{
		"BLPOP a b 0", "BLMPOP 0 2 a b LEFT COUNT 3", "BLMOVE a b LEFT LEFT 0", "BZPOPMIN a b 0", "BZMPOP 0 2 a b MIN",
		"XREAD BLOCK 0 STREAMS s $", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
	}
	for _, reply := range []string{
		"$1\r\nx\r\n", "*2\r\n$1\r\na\r\n*1\r\n$1\r\nx\r\n", "*2\r\n$1\r\nx\r\n,1.5\r\n", "*1\r\n*2\r\n$1\r\nx\r\n$1\r\n1\r\n",
		"*-1\r\n", "_\r\n", "*0\r\n", "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n", "|1\r\n+a\r\n+b\r\n$1\r\nx\r\n",
		"-ERR unknown command\r\n", "-WRONGTYPE x\r\n", "!3\r\nERR\r\n", "%1\r\n+a\r\n+b\r\n", "$?\r\n;1\r\na\r\n;0\r\n",
	} {
		for kind := range lines {
			f.Add(uint8(kind), []byte(reply))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, reply []byte) {
		form, _ := Parse(words(lines[int(kind)%len(lines)]))
		for _, keys := range [][][]byte{form.Keys(), form.Keys()[:1]} {
			for n := 1; n <= 2; n++ {
				d, err := form.parse(reply, keys, n)
				if err != nil || d.none {
					continue
				}
				for more := true; more; more = len(d.items) > 0 {
					items := d.items
					if form.takes() {
						if _, err := giveBack(form, d.key, items); err != nil {
							t.Fatalf("%q was accepted and cannot go back: %v", reply, err)
						}
					}
					form.serve(&d)
				}
			}
		}
		// One malformed reply ends the wait, and leaves nothing behind.
		c := newCore(1, 1, 1)
		if err := c.add(&Wait{form: form}); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			c.pump()
			out := c.out
			c.out = nil
			for _, a := range out {
				if a.kind == doSend {
					c.replied(a.try, Outcome{Reply: reply})
				}
			}
		}
		c.close()
		c.cut()
		if c.waiting != 0 || len(c.names) > 0 && c.inFlight == 0 {
			t.Fatalf("%q leaves %d waits and %d keys", reply, c.waiting, len(c.names))
		}
	})
}
