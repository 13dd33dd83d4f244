package gateway_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	differCommands = flag.Int("differ", 100_000, "commands of the differential test")
	differSeed     = flag.Uint64("seed", 0, "its seed; 0: another one each time")
)

// templates are commands with deterministic replies. These words are replaced: %k a key, %v a value, %n a number, %f a
// field, %d a database, %c a channel.
var templates = strings.Split(strings.TrimSpace(`
SET %k %v
SET %k %v NX
SET %k %v XX GET
SET %k %v EX 1000
GET %k
GETSET %k %v
GETDEL %k
GETRANGE %k 0 3
SETRANGE %k 2 %v
APPEND %k %v
STRLEN %k
MSET %k %v %k %v
MSETNX %k %v %k %v
MGET %k %k %k
INCR %k
INCRBY %k %n
INCRBYFLOAT %k 1.5
DECR %k
DEL %k
DEL %k %k
UNLINK %k
EXISTS %k %k
TYPE %k
EXPIRE %k 1000
PERSIST %k
RENAME %k %k
RENAMENX %k %k
COPY %k %k
OBJECT ENCODING %k
OBJECT NOPE %k
DUMP nokey
TOUCH %k %k
HSET %h %f %v
HSET %h %f %v %f %v
HGET %h %f
HDEL %h %f
HEXISTS %h %f
HLEN %h
HINCRBY %h %f %n
HMGET %h %f %f
HSETNX %h %f %v
HSET tiny %f %n
HGETALL tiny
RPUSH %l %v %v
LPUSH %l %v
LPOP %l
RPOP %l 2
LLEN %l
LRANGE %l 0 -1
LINDEX %l %n
LREM %l 1 %v
LTRIM %l 0 5
LMOVE %l %l LEFT RIGHT
RPOPLPUSH %l %l
BLPOP %l 0.01
BRPOP %l %l 0.01
BLMOVE %l %l LEFT LEFT 0.01
BLPOP %l wrong
BLPOP %l -1
BLPOP %l 0x0.03p0
BLPOP %l nan
BLPOP %l 1e400
BLPOP %l
BRPOPLPUSH %l %l 0.01
BLMPOP 0.01 2 %l %l LEFT COUNT 2
BLMPOP x 1 %l LEFT
BZMPOP 0.01 1 %z MIN
LMPOP 1 %l RIGHT
SADD %s a
SADD %s %v %v
SREM %s %v
SISMEMBER %s %v
SCARD %s
SINTERCARD 2 %s %s
SMOVE %s %s %v
ZADD %z %n %v
ZADD %z GT CH %n %v
ZSCORE %z %v
ZRANGE %z 0 -1 WITHSCORES
ZRANGEBYSCORE %z -inf +inf
ZRANK %z %v
ZINCRBY %z 2.5 %v
ZREM %z %v
ZCARD %z
ZPOPMIN %z
BZPOPMIN %z 0.01
ZUNIONSTORE %z 2 %z %z
XADD %x %n-* f %v
XADD %x 5-1 f %v
XLEN %x
XRANGE %x - +
XREAD COUNT 2 STREAMS %x 0
XREAD BLOCK 10 STREAMS %x 9999999
XREAD BLOCK 10 STREAMS %x %x 0 9999999
XREAD BLOCK -1 STREAMS %x $
XREAD BLOCK 007 STREAMS %x $
XREAD COUNT 1
XREADGROUP GROUP g c BLOCK 10 STREAMS %x >
XAUTOCLAIM %x g d 0 0
XINFO GROUPS %x
XGROUP CREATE %x g 0 MKSTREAM
XREADGROUP GROUP g c STREAMS %x >
XACK %x g 5-1
XINFO NOPE %x
XTRIM %x MAXLEN 3
SETBIT %k %n 1
GETBIT %k %n
BITCOUNT %k
BITOP AND %k %k %k
PFADD %p %v %v
PFCOUNT %p
GEOADD %g 13.361389 38.115556 %v
GEOPOS %g %v
GEODIST %g %v %v
SORT %l ALPHA
SORT %l
SORT %l BY nosort ALPHA STORE %l
SORT_RO %s ALPHA
GETEX %k EX 1000
GETEX %k PERSIST
LCS %k %k LEN
BITFIELD %k GET u4 0 INCRBY u2 100 1
BITFIELD_RO %k GET u4 0
GEOSEARCH %g FROMLONLAT 13 38 BYRADIUS 500 km
GEORADIUS %g 13 38 500 km STORE %z
RESTORE %k 0 garbage
OBJECT REFCOUNT %h
OBJECT FREQ %k
PFDEBUG ENCODING %p
SINTERSTORE %s %s %s
ZRANGESTORE %z %z 0 -1
ZINTERCARD 2 %z %z
FCALL nothing 0
FUNCTION STATS
FUNCTION DELETE nothing
EVAL error('%v') 0
EVAL return(redis.call('SELECT',2)) 0
EVAL return(redis.call('BLPOP',KEYS[1],0)) 1 %l
EVAL return(redis.call('CLIENT','ID')) 0
EVAL redis.setresp(3)return{double=1.5} 0
EVAL return{big_number='%v'} 0
EVAL_RO return(redis.call('GET',KEYS[1])) 1 %k
EVAL_RO return(redis.call('SET',KEYS[1],1)) 1 %k
EVAL return(ARGV[1]) 0 %v
EVAL return{1,2,{KEYS[1]}} 1 %k
EVAL return(redis.call('GET',KEYS[1])) 1 %k
EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
SCRIPT EXISTS ffffffffffffffffffffffffffffffffffffffff
SCRIPT NOPE
FUNCTION LIST
PUBLISH nobody %v
PUBSUB CHANNELS nothing*
PUBSUB NUMSUB nothing
SELECT %d
SELECT 99
SELECT x
SWAPDB 0 0
PING
PING %v
ECHO %v
HELLO
HELLO 2
HELLO 3
HELLO 3 SETNAME %f
HELLO 4
HELLO x
HELLO 3 AUTH default %v
HELLO 2 AUTH default
HELLO 3 SETNAME
HELLO 2 AUTH nobody %v
get %k
sEt %k %v
client getname
PING %v %v
XGROUP
XGROUP NOPE %v
ROLE x
SWAPDB 0 1
SWAPDB 0 99
CLIENT SETNAME %f
CLIENT GETNAME
CLIENT NO-EVICT ON
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT NOPE
CLIENT REPLY ON
CLIENT REPLY NOPE
CLIENT TRACKING ON NOPE
CLIENT TRACKING OFF
CLIENT CACHING YES
CLIENT LIST ID x
CLIENT LIST NOPE
CLIENT KILL NOPE x
CLIENT NO-EVICT NOPE
CLIENT KILL 1.2.3.4:5
CLIENT KILL USER nobody
CLIENT UNBLOCK 999999
CLIENT UNBLOCK x
RESET
MULTI
MULTI
EXEC
EXEC
DISCARD
DISCARD x
EXEC x
MULTI x
WATCH
WATCH %k
WATCH %k %l
UNWATCH
SUBSCRIBE %c %c
PSUBSCRIBE %c*
SSUBSCRIBE %c
UNSUBSCRIBE %c
UNSUBSCRIBE
PUNSUBSCRIBE
SUNSUBSCRIBE %c
WAIT 0 0
NOSUCHCOMMAND
NOSUCHCOMMAND %v %v
GET
GET %k %k
SET %k
HSET %h %f
CLIENT
CONFIG NOPE
READONLY
ASKING
AUTH
AUTH nopassword
COMMAND COUNT
COMMAND GETKEYS SET a b
DBSIZE
FLUSHDB
LATENCY NOPE
MEMORY NOPE
DEBUG
`), "\n")

// rareCommands are commands that are drawn rarely, because they remove state.
var rareCommands = []string{"RESET", "FLUSHDB", "HELLO 3", "HELLO 2", "SUBSCRIBE %c %c", "PSUBSCRIBE %c*", "SSUBSCRIBE %c", "AUTH nopassword"}

// script draws the commands of one session.
func script(r *rand.Rand, v redistest.Version) [][]string {
	commands := make([][]string, 0, 40)
	for range 5 + r.IntN(60) {
		t := templates[r.IntN(len(templates))]
		if slices.Contains(rareCommands, t) && r.IntN(6) > 0 {
			continue
		}
		words := strings.Fields(t)
		if !v.Since(7, 0) && slices.ContainsFunc(words, func(w string) bool { return slices.Contains(later, w) }) {
			continue
		}
		for i, w := range words {
			words[i] = fill(r, w)
		}
		commands = append(commands, words)
	}
	return commands
}

// later are words that are new or changed in 7.0. For these, the gateway has the error texts of 7.0, also with an older
// server.
var later = []string{"SSUBSCRIBE", "SUNSUBSCRIBE", "CLIENT", "client", "XGROUP", "NOPE", "COMMAND", "CONFIG",
	"LMPOP", "BLMPOP", "BZMPOP", "SINTERCARD", "ZINTERCARD", "LCS", "FUNCTION", "FCALL", "EVAL_RO", "SORT_RO"}

func fill(r *rand.Rand, word string) string {
	if len(word) < 2 || word[0] != '%' {
		if len(word) > 2 && word[0] == '%' {
			return word
		}
		return strings.Replace(word, "%n", fmt.Sprint(r.IntN(8)), 1)
	}
	kind, rest := word[1], word[2:]
	switch kind {
	case 'v':
		switch r.IntN(30) {
		case 0:
			return ""
		case 1:
			return "bin\r\n\x00\xff"
		case 2:
			return strings.Repeat("large", 1+r.IntN(20_000))
		}
		return fmt.Sprint("v", r.IntN(5)) + rest
	case 'n':
		return fmt.Sprint(r.IntN(8)) + rest
	case 'd':
		return fmt.Sprint(r.IntN(4))
	case 'f':
		return fmt.Sprint("f", r.IntN(4))
	case 'c':
		return fmt.Sprint("c", r.IntN(3)) + rest
	}
	if r.IntN(20) == 0 {
		kind = "khlszxpg"[r.IntN(8)] // a key of another type
	}
	return fmt.Sprintf("%c%d", kind, r.IntN(3))
}

// play sends a session in pieces of any size and returns its replies up to the mark at its end.
func play(addr string, commands [][]string, cuts *rand.Rand) ([]string, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	var raw []byte
	for _, words := range slices.Concat(commands, [][]string{{"RESET"}, {"ECHO", endMark}}) {
		raw = resp.AppendArrayHeader(raw, len(words))
		for _, w := range words {
			raw = resp.AppendBulkString(raw, w)
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for len(raw) > 0 {
			n := 1 + cuts.IntN(min(len(raw), 1+cuts.IntN(4096)))
			if _, err := conn.Write(raw[:n]); err != nil {
				return
			}
			raw = raw[n:]
		}
	})
	return readFrames(bufio.NewReaderSize(conn, 64<<10))
}

const endMark = "the-end-of-the-session"

func readFrames(in *bufio.Reader) ([]string, error) {
	var frames []string
	var s resp.Scanner
	var held []byte
	for {
		if _, err := in.Peek(1); err != nil {
			return frames, err
		}
		b, _ := in.Peek(in.Buffered())
		n, done, err := s.Scan(b)
		if err != nil {
			return frames, fmt.Errorf("%w in %q", err, b)
		}
		held = append(held, b[:n]...)
		_, _ = in.Discard(n)
		if !done {
			continue
		}
		frame := string(held)
		held = held[:0]
		if strings.Contains(frame, endMark) {
			return frames, nil
		}
		frames = append(frames, frame)
	}
}

// known reports whether a difference is documented.
func known(straight, through string) bool {
	switch {
	case strings.Contains(straight, "\r\nproto\r\n"):
		return anonymous(straight) == anonymous(through)
	case strings.HasPrefix(through, "-ERR respool: "):
		return true // the gateway refuses it with its own text
	case strings.Replace(through, ", with args beginning with: \r\n", "\r\n", 1) == straight:
		return true // Redis 8 omits the empty list
	case strings.Contains(straight, "unknown command `") && strings.Contains(through, "unknown command '"),
		strings.Contains(straight, "only (P)SUBSCRIBE") && strings.Contains(through, "only (P|S)SUBSCRIBE"):
		return true // the text of 6.2
	case strings.HasPrefix(straight, "-NOSUB "):
		return true // Valkey 8.0.0 and 8.0.1 refuse UNSUBSCRIBE without subscriptions
	case strings.Contains(straight, "unsubscribe\r\n") && strings.Contains(through, "unsubscribe\r\n"):
		return len(straight) == len(through) // an UNSUBSCRIBE from all topics has the order of the server's hash table
	}
	return false
}

// apart reports whether a session contains a command that only the gateway refuses inside MULTI. The sessions differ
// after it.
func apart(through []string) bool {
	return slices.ContainsFunc(through, func(f string) bool { return strings.Contains(f, "respool: ") })
}

// answered removes the replies that servers since 7.2 sometimes omit.
func answered(v redistest.Version, frames []string) []string {
	if !v.DropsRefusedAuth() {
		return frames
	}
	return slices.DeleteFunc(frames, func(f string) bool { return strings.HasPrefix(f, "-WRONGPASS ") })
}

// The test sends random sessions to a server directly and through the gateway, and compares every byte.
func TestTheGatewayRepliesLikeTheServer(t *testing.T) {
	seed := *differSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	const workers = 4
	quick := redistest.Config{Args: []string{"--hz", "500"}} // check for blocked clients this often
	var sent, compared atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		straight, behind := redistest.Start(t, quick), redistest.Start(t, quick)
		h := open(t, behind.URL()+"?max_connections=4", gateway.Config{Admin: true})
		wg.Go(func() {
			for n := uint64(0); int(sent.Load()) < *differCommands && !t.Failed(); n++ {
				session := seed + uint64(w)<<48 + n
				commands := script(rand.New(rand.NewPCG(session, 1)), straight.Version())
				sent.Add(int64(len(commands)))
				differ(t, session, commands, straight, behind, h, &compared)
			}
		})
	}
	wg.Wait()
	t.Logf("%d commands, %d replies compared", sent.Load(), compared.Load())
}

func differ(t *testing.T, session uint64, commands [][]string, straight, behind *redistest.Server, h *testGateway, compared *atomic.Int64) {
	for _, s := range []*redistest.Server{straight, behind} {
		if _, err := s.TryDo("FLUSHALL"); err != nil {
			t.Error(err)
			return
		}
	}
	a, aerr := play(straight.Addr(), commands, rand.New(rand.NewPCG(session, 2)))
	b, berr := play(h.addr, commands, rand.New(rand.NewPCG(session, 3)))
	if apart(b) {
		return
	}
	a, b = answered(straight.Version(), a), answered(straight.Version(), b)
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a) || i >= len(b):
			t.Errorf("session %d: %d frames straight (%v), %d through (%v)\n%s", session, len(a), aerr, len(b), berr, listing(commands))
			return
		case a[i] != b[i] && !known(a[i], b[i]):
			t.Errorf("session %d, frame %d:\nstraight %.300q\nthrough  %.300q\n%s", session, i, a[i], b[i], listing(commands))
			return
		}
	}
	compared.Add(int64(len(a)))
	if !errors.Is(aerr, berr) && (aerr == nil) != (berr == nil) {
		t.Errorf("session %d: straight ended with %v, through with %v\n%s", session, aerr, berr, listing(commands))
	}
}

func listing(commands [][]string) string {
	var b strings.Builder
	for _, words := range commands {
		fmt.Fprintf(&b, "    %.100q\n", words)
	}
	return b.String()
}
