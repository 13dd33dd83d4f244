package gateway

import (
	"math"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/gateway/turns"
)

// replyState is the progress of a request.
type replyState uint8

const (
	posted   replyState = iota // on a lane
	queued                     // waits for the client's worker
	running                    // the worker executes it
	parked                     // a blocking command that waits in the engine
	answered                   // its reply waits for the replies before it
	broken                     // it gets no reply: after the replies before it, the client's connection ends
)

// pendingReply is the place of a request in the order of its client.
type pendingReply struct {
	state  replyState
	silent bool      // the client does not get the reply
	reads  bool      // the request may be sent again
	alone  bool      // a blocking command that needs a dedicated connection
	level  pauseMode // the mildest pause that holds it back, if it is queued
	via    uint8     // of laneRoute, if it is posted
	sample bool      // its time counts in the tally
	counts bool      // its expected bytes are in flight
	waited uint32    // microseconds before it was posted, except those since at

	expected turns.Expected // bytes
	want     int            // frames that are still to come
	sent     int            // bytes of its reply that were sent, or dropped, before the reply was complete

	from, to uint64  // its bytes in the replay buffer, while it may have to be sent again
	at       int64   // when it was posted, queued or parked, approximately; unix nanoseconds
	behind   *ticket // the subscription that it must not overtake, if it is queued
	step     *stepReplies
	refusal  *engine.Refusal // an earlier refusal by a server
	reply    []byte
}

// stepReplies is the part of a pendingReply for a step that is not one multiplexed command.
type stepReplies struct {
	session.Step
	frames [][]byte
	size   int    // of the request, if its bytes are not kept
	about  string // describes a step on the dedicated connection, whose bytes are not kept
}

// reset prepares for another attempt: no frame has come yet.
func (p *pendingReply) reset() {
	p.want = 1
	if p.step != nil {
		p.want, p.step.frames = p.step.Replies, nil
	}
}

// pendingReplies are the requests of a client that have no reply yet, in order, and the bytes to send them again. Their
// numbers rise by one. The client's lock guards them.
type pendingReplies struct {
	ring     []pendingReply // length a power of two
	head     uint64         // number of the first
	replay   replayBuffer
	identity engine.Identity // of the connections of all of them
	unsent   int             // bytes of replies that wait for the replies before them
	inFlight int             // bytes of those on a lane or on the way to one, as expected
	n        int32
	posted   int32          // those on a lane
	queued   int32          // those that wait for the worker or run there: no request may overtake them
	typical  int32          // bytes of a reply, from the recent ones
	mean     turns.Mean     // of the replies
	next     turns.Expected // of the next request
}

// firstRing is the size of a new ring. A blocked client needs no more.
const firstRing = 1

// push adds a request for connections of an identity. Pending requests share one identity: steps that change it are
// barriers.
func (p *pendingReplies) push(identity engine.Identity) (tag uint64, at *pendingReply) {
	if p.n == 0 {
		p.identity = identity
	}
	return p.pushSame()
}

// pushSame is push with the present identity.
func (p *pendingReplies) pushSame() (tag uint64, at *pendingReply) {
	if int(p.n) == len(p.ring) {
		p.grow()
	}
	tag = p.head + uint64(p.n)
	p.n++
	at = p.place(tag)
	at.expected = p.next
	return tag, at
}

func (p *pendingReplies) grow() {
	bigger := make([]pendingReply, max(firstRing, 2*len(p.ring)))
	for i := range p.n {
		tag := p.head + uint64(i)
		bigger[tag&uint64(len(bigger)-1)] = p.ring[tag&uint64(len(p.ring)-1)]
	}
	p.ring = bigger
}

func (p *pendingReplies) place(tag uint64) *pendingReply { return &p.ring[tag&uint64(len(p.ring)-1)] }

// at returns the request with a number, or nil if it is not pending.
func (p *pendingReplies) at(tag uint64) *pendingReply {
	if tag-p.head >= uint64(p.n) {
		return nil
	}
	return p.place(tag)
}

// front returns the first request, or nil.
func (p *pendingReplies) front() *pendingReply { return p.at(p.head) }

// launch counts a request as in flight until its reply is here.
func (p *pendingReplies) launch(at *pendingReply) {
	if !at.counts {
		at.counts = true
		p.inFlight += at.expected.Bytes()
	}
}

func (p *pendingReplies) land(at *pendingReply) {
	if at.counts {
		at.counts = false
		p.inFlight -= at.expected.Bytes()
	}
}

// undo removes the last request.
func (p *pendingReplies) undo() {
	p.n--
	at := p.place(p.head + uint64(p.n))
	p.land(at)
	*at = pendingReply{}
}

// pop removes the first request.
func (p *pendingReplies) pop() {
	at := p.place(p.head)
	p.land(at)
	*at = pendingReply{}
	p.head++
	p.n--
}

// fill keeps a reply until the replies before it are sent.
func (p *pendingReplies) fill(at *pendingReply, reply []byte) {
	p.land(at)
	at.state, at.reply = answered, reply
	p.unsent += len(reply)
}

// sendAnswered moves the first replies, up to the first missing one, to the output. flush reports that the output was
// empty before, ends that the next request is broken.
func (p *pendingReplies) sendAnswered(out *netio.Output) (flush, ends bool) {
	at := p.front()
	for ; at != nil && at.state == answered; at = p.front() {
		flush = out.Append(at.reply, true) || flush
		p.unsent -= len(at.reply)
		p.pop()
	}
	return flush, at != nil && at.state == broken
}

// trim drops the bytes of requests that are not pending any more.
func (p *pendingReplies) trim() {
	if at := p.front(); at != nil {
		p.replay.dropTo(at.from)
	} else {
		p.replay.clear()
	}
}

// learn records the size of a reply.
func (p *pendingReplies) learn(size int) {
	p.typical = max(int32(min(size, math.MaxInt32)), p.typical-p.typical>>3)
}

// mostReplay limits the bytes of a client's pending requests. The window of a lane has the same limit, and the client
// can keep the rest in its own memory.
const mostReplay = 4 << 20

// firstPipeline is how many commands of a client may be pending before the size of its replies is known: the output
// buffer must have room for all their replies.
const firstPipeline = 16

// full reports whether no more requests may be taken: there are too many, or their replies may exceed the output
// buffer.
func (p *pendingReplies) full(pipeline, outputBuffer int) bool {
	return int(p.n) >= pipeline || p.replay.size() >= mostReplay || int(p.n)*int(p.typical) > outputBuffer || p.unsent > outputBuffer
}

// writesBehind reports whether a command that is not read-only was posted after a request. The server may have
// executed it, and a second attempt of the request would come after it.
func (p *pendingReplies) writesBehind(tag uint64) bool {
	for i := tag + 1; ; i++ {
		at := p.at(i)
		if at == nil {
			return false
		}
		if at.state == posted && !at.reads {
			return true
		}
	}
}

// shrink frees the memory of an idle client.
func (p *pendingReplies) shrink() {
	p.ring = nil
	p.replay.release()
}

// drop removes all requests: the client has left. Later replies find none of them.
func (p *pendingReplies) drop() {
	*p = pendingReplies{head: p.head + uint64(p.n), identity: p.identity, typical: p.typical, mean: p.mean}
}

// held returns the bytes that the requests and replies occupy.
func (p *pendingReplies) held() int { return p.unsent + p.replay.size() }
