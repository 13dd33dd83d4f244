package lane

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"
)

// ErrOutOfStep is the cause when a lane fails its proof: the server did not reply to a command, or replied twice, and
// replies reach the wrong callers.
var ErrOutOfStep = errors.New("the replies are out of step with the commands: the server did not answer a token with this token")

// Proof is the command by which a lane proves that replies match commands.
type Proof uint8

const (
	// NoProof is for a connection with a single holder, who may be in MULTI.
	NoProof Proof = iota
	// EchoProof sends ECHO with a token.
	EchoProof
	// HelloProof sends HELLO with a token in place of an option. The server refuses it and quotes the token. HELLO
	// needs no permission and never appears in ACL LOG, but counts in errorstats. The lane uses it only if the server
	// is known to support HELLO.
	HelloProof
)

// A lane proves its order with every proofEvery replies, and with the first command after every proofPeriod.
const (
	proofEvery  = 1024
	proofPeriod = time.Second
)

const tokenSize = 16

// patientProofs is the number of consecutive refusals after which the lane changes the form of its proof.
const patientProofs = 3

// proof verifies that a lane is in step. Among the other commands it sends a new random token. The answer must arrive
// in its place and nowhere else. Lane.mu guards its fields.
type proof struct {
	left    int  // replies until the next token
	pending bool // an answer is pending
	doubt   bool // the last answer proved nothing: its token may still arrive
	form    Proof
	ticks   int // ticks since the last period
	refused int // consecutive answers that proved nothing
	ahead   int // pending replies before the answer
	token   [tokenSize]byte
	request request // the request in the queue; nobody waits for it
	hello   bool    // the server is known to support HELLO
}

func (p *proof) init(hello bool) {
	p.hello = hello
	p.left = proofEvery
	p.request.state.Store(left)
}

// by sets the form of the proof. No reply is pending.
func (p *proof) by(form Proof) { p.form, p.doubt, p.refused = p.usable(form), false, 0 }

// usable returns form, or NoProof if the server may lack HELLO.
func (p *proof) usable(form Proof) Proof {
	if form == HelloProof && !p.hello {
		return NoProof
	}
	return form
}

// tick makes the next command carry a token when the period is over.
func (p *proof) tick(period time.Duration) {
	if p.ticks++; time.Duration(p.ticks)*period >= proofPeriod {
		p.ticks = 0
		if p.left < proofEvery {
			p.left = 0
		}
	}
}

// due reports whether the next command must carry a token, after a request for n replies.
func (p *proof) due(n int) bool {
	p.left -= n
	return p.left < 0
}

// skip waits for the next turn of a token.
func (p *proof) skip() { p.left = proofEvery }

// ask appends a command with a token to buf. ahead is the number of pending replies before its answer. After an
// answer that proved nothing it is the same token.
func (p *proof) ask(buf []byte, ahead int, protocol int) []byte {
	if !p.doubt {
		var random [tokenSize / 2]byte
		binary.LittleEndian.PutUint64(random[:], rand.Uint64())
		hex.Encode(p.token[:], random[:])
	}
	p.pending, p.ahead = true, ahead
	if p.form == EchoProof {
		buf = append(buf, "*2\r\n$4\r\nECHO\r\n$16\r\n"...)
	} else {
		buf = append(buf, "*3\r\n$5\r\nHELLO\r\n$1\r\n"...)
		buf = strconv.AppendInt(buf, int64(protocol), 10)
		buf = append(buf, "\r\n$16\r\n"...)
	}
	return append(append(buf, p.token[:]...), "\r\n"...)
}

// expects reports whether verify must see the next frames.
func (p *proof) expects() bool { return p.pending || p.doubt }

// verify checks frames for the token before any of them is distributed. It returns ErrOutOfStep if the token is in
// another place, or another reply is in its place.
func (p *proof) verify(frames []frame) error {
	for i := range frames {
		f := &frames[i]
		if f.push {
			continue
		}
		has := p.answers(f.b)
		switch {
		case !p.pending || p.ahead > 0:
			if has {
				return ErrOutOfStep
			}
			p.ahead--
		case has:
			p.pending, p.doubt, p.refused = false, false, 0
			return nil
		case f.b[0] != '-' && f.b[0] != '!':
			return ErrOutOfStep
		default:
			p.refusedBy(f.b)
		}
	}
	return nil
}

// answers reports whether b is the answer to the token, or an error that quotes it.
func (p *proof) answers(b []byte) bool {
	const quoted = 1 << 10 // errors that quote a token are shorter
	switch b[0] {
	case '$':
		return len(b) == len("$16\r\n\r\n")+tokenSize && bytes.Equal(b[5:5+tokenSize], p.token[:])
	case '-', '!':
		return len(b) < quoted && bytes.Contains(b, p.token[:])
	}
	return false
}

// refusedBy records an error in the token's place. It proves nothing and may be the reply to another command, so the
// lane soon sends the same token again.
func (p *proof) refusedBy(b []byte) {
	p.pending, p.doubt = false, true
	for _, code := range []string{"-BUSY ", "-LOADING ", "-MASTERDOWN "} {
		if bytes.HasPrefix(b, []byte(code)) {
			return // a temporary state
		}
	}
	p.left = 0
	if p.refused++; p.form == EchoProof && bytes.HasPrefix(b, []byte("-NOPERM ")) {
		p.refused = patientProofs // each refusal adds an entry to ACL LOG
	}
	if p.refused < patientProofs {
		return
	}
	p.refused = 0
	if p.form == EchoProof {
		p.form = p.usable(HelloProof)
	} else {
		p.form = NoProof
	}
	p.doubt = p.form != NoProof
}

// unsent records that the command with the token is not sent.
func (p *proof) unsent() { p.pending = false }

// proveLocked adds a token to the queue, behind the last request.
func (l *Lane) proveLocked() {
	p := &l.proof
	p.skip()
	if p.form == NoProof || p.pending || l.draining || l.alone.held {
		return
	}
	before := len(l.out.buf)
	l.out.buf = p.ask(l.out.buf, l.window.due.replies, l.conn.Protocol())
	l.queueLocked(&p.request, 1, len(l.out.buf)-before, &Options{})
	p.skip()
}
