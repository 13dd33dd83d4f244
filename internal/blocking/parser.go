package blocking

import (
	"bytes"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Parser is Parse for arguments as values. It remembers forms, since workers repeat their commands: a repeated command
// costs no memory. The zero value is ready. Its methods are safe for concurrent use.
type Parser struct {
	unused sync.Pool // of *argTexts
	places [places]place
}

// place remembers one of the commands with the same hash. It keeps a form only if a command comes twice in a row, so that
// commands that do not repeat cost nothing.
type place struct {
	last atomic.Uint64 // hash of the last command
	form atomic.Pointer[knownForm]
}

type knownForm struct {
	args [][]byte // of the command
	form *Form
}

const (
	places    = 64
	mostKnown = 512     // bytes of the arguments of a command that is remembered
	mostTexts = 4 << 10 // bytes of the largest buffer that is kept
)

var hashSeed = maphash.MakeSeed()

// Parse returns the form of a blocking command, which others may have too. It is nil for a command for which Parse is not
// ok. args do not escape. An error is a *resp.ArgumentError.
func (p *Parser) Parse(args []any) (form *Form, err error) {
	t, ok := p.unused.Get().(*argTexts)
	if !ok {
		t = &argTexts{}
	}
	if err = t.take(args); err == nil {
		form = p.find(t)
	}
	if cap(t.buf) <= mostTexts {
		p.unused.Put(t)
	}
	return form, err
}

func (p *Parser) find(t *argTexts) *Form {
	if len(t.buf) > mostKnown {
		form, _ := Parse(t.args)
		return form
	}
	hash := maphash.Bytes(hashSeed, t.buf)
	at := &p.places[hash%places]
	if known := at.form.Load(); known != nil && equalArgs(known.args, t.args) {
		return known.form
	}
	form, ok := Parse(t.args)
	if ok && at.last.Swap(hash) == hash {
		at.form.Store(&knownForm{cloneArgs(t.args), form})
	}
	return form
}

func equalArgs(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func cloneArgs(args [][]byte) [][]byte {
	clone := make([][]byte, len(args))
	for i, a := range args {
		clone[i] = bytes.Clone(a)
	}
	return clone
}

// argTexts are the arguments of one command.
type argTexts struct {
	args [][]byte
	buf  []byte // the memory of args, except for a part if it has grown
}

// take copies the texts of args.
func (t *argTexts) take(args []any) error {
	t.args, t.buf = t.args[:0], t.buf[:0]
	for i := range args {
		at := len(t.buf)
		switch v := args[i].(type) {
		case string:
			t.buf = append(t.buf, v...)
			t.args = append(t.args, t.buf[at:])
		case []byte:
			t.buf = append(t.buf, v...)
			t.args = append(t.args, t.buf[at:])
		default: // the text of a number is short
			var err error
			if t.buf, err = resp.AppendCommand(t.buf, args[i:i+1]); err != nil {
				_, err = resp.AppendCommand(nil, args) // names the index
				return err
			}
			_, text, _ := bytes.Cut(t.buf[at+len("*1\r\n"):], []byte("\n"))
			t.args = append(t.args, text[:len(text)-len("\r\n")])
		}
	}
	return nil
}
