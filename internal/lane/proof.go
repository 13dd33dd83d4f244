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

// ErrOutOfStep is the cause when a lane fails its proof: the server left a command
// unanswered, or answered one more than once, and replies reach the wrong callers.
var ErrOutOfStep = errors.New("the replies are out of step with the commands: the server did not answer a token with this token")

// Proof is the command by which a lane proves that replies match commands.
type Proof uint8

const (
	// NoProof is for a connection that has one holder, who may be in MULTI.
	NoProof Proof = iota
	// EchoProof sends ECHO with a token.
	EchoProof
	// HelloProof sends HELLO with a token in place of an option, which the server refuses and
	// quotes. HELLO needs no permission and is never in ACL LOG, but it counts in errorstats. It is
	// used only where the server is known to have HELLO.
	HelloProof
)

// A lane in use is proven with every so many replies, and with the first command after every period.
const (
	proofEvery  = 1024
	proofPeriod = time.Second
)

const tokenSize = 16

// patientProofs is how many refusals of one form in a row are taken before the lane
// uses another form, or none.
const patientProofs = 3

// proof checks that a lane is in step: among the other commands it sends a fresh random token, and
// the answer has to come in its place and nowhere else. Its fields are guarded by Lane.mu.
type proof struct {
	left    int  // replies until the next token
	pending bool // an answer is due
	doubt   bool // the last answer proved nothing: its token may come yet
	form    Proof
	ticks   int // since it was last set to zero for the time
	refused int // answers in a row that proved nothing
	ahead   int // replies due before the answer
	token   [tokenSize]byte
	request request // of the pending one; nobody waits for it
}

func (p *proof) init() {
	p.left = proofEvery
	p.request.state.Store(left)
}

// proveLocked puts a token in the queue, behind what has just been put there.
func (l *Lane) proveLocked() {
	p := &l.proof
	p.left = proofEvery
	if p.form == NoProof || p.pending || l.draining || l.alone.held {
		return
	}
	if !p.doubt {
		var random [tokenSize / 2]byte
		binary.LittleEndian.PutUint64(random[:], rand.Uint64())
		hex.Encode(p.token[:], random[:])
	}
	p.pending, p.ahead = true, l.due
	before := len(l.wbuf)
	if p.form == EchoProof {
		l.wbuf = append(l.wbuf, "*2\r\n$4\r\nECHO\r\n$16\r\n"...)
	} else {
		l.wbuf = append(l.wbuf, "*3\r\n$5\r\nHELLO\r\n$1\r\n"...)
		l.wbuf = strconv.AppendInt(l.wbuf, int64(l.conn.Protocol()), 10)
		l.wbuf = append(l.wbuf, "\r\n$16\r\n"...)
	}
	l.wbuf = append(append(l.wbuf, p.token[:]...), "\r\n"...)
	l.queueLocked(&p.request, 1, len(l.wbuf)-before, &Options{})
	p.left = proofEvery
}

// tickProofLocked has the next command proven once the period is over.
func (l *Lane) tickProofLocked() {
	p := &l.proof
	if p.ticks++; time.Duration(p.ticks)*l.clock.period >= proofPeriod {
		p.ticks = 0
		if p.left < proofEvery {
			p.left = 0
		}
	}
}

// verifyLocked looks for the token among frames before any of them is handed out. It
// returns ErrOutOfStep if the token comes elsewhere than in its place, or something else there.
func (l *Lane) verifyLocked(frames []frame) error {
	p := &l.proof
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
			l.refusedProofLocked(f.b)
		}
	}
	return nil
}

// answers reports whether b is the answer to the token, or an error that quotes it.
func (p *proof) answers(b []byte) bool {
	const quoted = 1 << 10 // no error text with a token is longer
	switch b[0] {
	case '$':
		return len(b) == len("$16\r\n\r\n")+tokenSize && bytes.Equal(b[5:5+tokenSize], p.token[:])
	case '-', '!':
		return len(b) < quoted && bytes.Contains(b, p.token[:])
	}
	return false
}

// refusedProofLocked takes an error in the token's place: it proves nothing, and may be the reply to
// another command, so the same token is soon sent again.
func (l *Lane) refusedProofLocked(b []byte) {
	p := &l.proof
	p.pending, p.doubt = false, true
	for _, code := range []string{"-BUSY ", "-LOADING ", "-MASTERDOWN "} {
		if bytes.HasPrefix(b, []byte(code)) {
			return // for now
		}
	}
	p.left = 0
	if p.refused++; p.form == EchoProof && bytes.HasPrefix(b, []byte("-NOPERM ")) {
		p.refused = patientProofs // each one is an entry in ACL LOG
	}
	if p.refused < patientProofs {
		return
	}
	p.refused = 0
	if p.form == EchoProof {
		p.form = l.usableProof(HelloProof)
	} else {
		p.form = NoProof
	}
	p.doubt = p.form != NoProof
}

// proveByLocked sets the form for a lane on which nothing is due.
func (l *Lane) proveByLocked(form Proof) {
	p := &l.proof
	p.form, p.doubt, p.refused = l.usableProof(form), false, 0
}

// usableProof is form, or NoProof where the server may not have HELLO.
func (l *Lane) usableProof(form Proof) Proof {
	if form == HelloProof && l.conn.Server() == "" {
		return NoProof
	}
	return form
}
