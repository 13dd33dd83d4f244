package blocking

import "testing"

// One key of another type does not hide the data of the others from commands that wait, except on a server that executes
// them again: there they end with the error, and the data stays for others.
func TestAWrongTypeBeforeAKeyWithData(t *testing.T) {
	for _, tt := range []struct {
		line, wrong string
		again       bool
		want, next  string // the ends of this command, and of BLPOP b behind it
	}{
		{"BLPOP a b 0", "a", false, popB, waitsOn},
		{"BLPOP a b 0", "a", true, wrongType, popB},
		{"BLPOP c a b 0", "a", true, wrongType, popB},
		{"BLPOP b a 0", "a", true, popB, waitsOn}, // not before it
		{"BLMPOP 0 2 a b LEFT", "a", false, "*2\r\n$1\r\nb\r\n*1\r\n$1\r\nx\r\n", waitsOn},
		{"BLMPOP 0 2 a b LEFT", "a", true, wrongType, popB},
	} {
		m := newMemory()
		m.server.wrong = map[string]bool{}
		s := New(Config{Sender: m, Watcher: m, Reexecutes: func() bool { return tt.again }})
		_, done := start(t, s, tt.line)
		_, next := start(t, s, "BLPOP b 0")
		m.server.wrong[tt.wrong] = true
		s.Changed(tt.wrong)
		expect(t, done, waitsOn) // no key has data
		m.push("b", "x")
		expect(t, done, tt.want)
		expect(t, next, tt.next)
		closeWaits(t, s)
	}
}

const popB = "*2\r\n$1\r\nb\r\n$1\r\nx\r\n"

// The type of a key counts when another key has data, not before.
func TestAWrongTypeThatHasEnded(t *testing.T) {
	m := newMemory()
	m.server.wrong = map[string]bool{}
	s := New(Config{Sender: m, Watcher: m, Reexecutes: func() bool { return true }})
	_, done := start(t, s, "BLPOP a b 0")
	for _, wrong := range []bool{true, false} {
		m.server.wrong["a"] = wrong
		s.Changed("a")
	}
	m.push("b", "x")
	expect(t, done, popB)
	closeWaits(t, s)
}

// If the key of another type changes during the attempts, the command tries again.
func TestAWrongTypeThatEndsDuringAnAttempt(t *testing.T) {
	m := newMemory()
	m.server.wrong = map[string]bool{}
	s := New(Config{Sender: m, Watcher: m, Reexecutes: func() bool { return true }})
	_, done := start(t, s, "BLPOP a b 0")
	m.server.wrong["a"] = true
	m.answer = func(a *Attempt) *Outcome {
		if m.server.wrong["a"] && string(a.Args[0]) == "LMPOP" {
			m.server.wrong["a"] = false
			m.server.push("a", true, "x")
			return &Outcome{Reply: []byte(wrongType)}
		}
		return nil
	}
	s.Changed("a", "b")
	expect(t, done, popX)
	closeWaits(t, s)
}

// A type that has changed back before another key has data does not end the command.
func TestAWrongTypeThatEndsBeforeTheData(t *testing.T) {
	const entries = "*1\r\n*2\r\n$1\r\nb\r\n*0\r\n"
	for _, tt := range []struct {
		line string
		look string // the attempt that finds the wrong type for the last time
		key  string // receives data right after it
		want string
	}{
		{"BLPOP a b 0", "LLEN a", "b", popB},
		{"XREAD BLOCK 0 STREAMS a b 0 0", "XREAD STREAMS a b 0 0", "b", entries},
		{"BLMOVE a b LEFT LEFT 0", "LMOVE a b LEFT LEFT", "a", "$1\r\nx\r\n"},
	} {
		m := newMemory()
		m.server.wrong = map[string]bool{}
		s := New(Config{Sender: m, Watcher: m, Reexecutes: func() bool { return true }})
		data := null
		m.answer = func(a *Attempt) *Outcome {
			line := join(a.Args)
			wrong := m.server.wrong["a"]
			if line == tt.look && wrong {
				m.server.wrong["a"], data = false, entries
				m.server.push(tt.key, true, "x")
				return &Outcome{Reply: []byte(wrongType)}
			}
			if string(a.Args[0]) == "XREAD" {
				return &Outcome{Reply: []byte(data)}
			}
			return nil
		}
		_, done := start(t, s, tt.line)
		m.server.wrong["a"] = true
		s.Changed("a", "b")
		expect(t, done, tt.want)
		closeWaits(t, s)
	}
}

// A user who may not ask for the length of a key gets the error that the server found, or a dedicated connection.
func TestAWrongTypeWithoutPermissionToLook(t *testing.T) {
	for _, together := range []bool{true, false} {
		m := newMemory()
		m.server.wrong = map[string]bool{}
		s := New(Config{Sender: m, Watcher: m, Reexecutes: func() bool { return true }})
		_, done := start(t, s, "BLPOP a b 0")
		m.server.wrong["a"] = true
		m.answer = func(a *Attempt) *Outcome {
			if string(a.Args[0]) == "LLEN" {
				return &Outcome{Reply: []byte("-NOPERM x\r\n")}
			}
			return nil
		}
		if together {
			s.Changed("a", "b")
			expect(t, done, wrongType)
		} else {
			s.Changed("a")
			expect(t, done, waitsOn)
			s.Changed("b")
			expect(t, done, ErrDedicated.Error())
		}
		closeWaits(t, s)
	}
}

// An attempt that looks at a key because it had another type takes no data from it: another wait is first in line there.
func TestAKeyThatHadAnotherTypeIsNotTakenFrom(t *testing.T) {
	m := newMemory()
	m.server.wrong = map[string]bool{}
	s := New(Config{Sender: m, Watcher: m, Reexecutes: func() bool { return true }})
	_, first := start(t, s, "BLMPOP 0 1 a LEFT COUNT 3")
	_, second := start(t, s, "BLPOP a b 0")
	m.server.wrong["a"] = true
	s.Changed("a")
	m.server.wrong["a"] = false // the reports about the next changes of a are on their way
	m.server.push("a", false, "x")
	m.server.push("a", false, "y")
	m.push("b", "z")
	expect(t, first, waitsOn)
	expect(t, second, "*2\r\n$1\r\nb\r\n$1\r\nz\r\n")
	s.Changed("a")
	expect(t, first, "*2\r\n$1\r\na\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n")
	closeWaits(t, s)
}

// XREAD of several streams sees the type of each of them on a server that executes it again.
func TestAStreamOfAnotherType(t *testing.T) {
	const entries = "*1\r\n*2\r\n$1\r\nb\r\n*0\r\n"
	for _, again := range []bool{false, true} {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m, Reexecutes: func() bool { return again }})
		data := null
		m.answer = func(a *Attempt) *Outcome {
			switch join(a.Args) {
			case "XREAD STREAMS b 0":
				return &Outcome{Reply: []byte(data)}
			case "XREAD STREAMS a 0", "XREAD STREAMS b a 0 0":
				return &Outcome{Reply: []byte(wrongType)}
			}
			return nil
		}
		was := m.answer
		m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte(null)} }
		_, done := start(t, s, "XREAD BLOCK 0 STREAMS b a 0 0")
		m.answer = was
		s.Changed("a")
		expect(t, done, waitsOn)
		data = entries
		s.Changed("b")
		if again {
			expect(t, done, wrongType)
		} else {
			expect(t, done, entries)
		}
		closeWaits(t, s)
	}
}
