package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// templates are commands with deterministic replies. These words are replaced: %k a key, %v a value, %n a number, %f a
// field, %d a database, %c a channel, %tiny and %nokey a fixed key.
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
DUMP %nokey
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
HSET %tiny %f %n
HGETALL %tiny
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

// drawer draws the commands of a session.
type drawer struct {
	*rand.Rand
	templates []string
	version   redistest.Version
	tag       string // begins each key
}

// session draws the commands of one session.
func (d *drawer) session() [][]string {
	commands := make([][]string, 0, 40)
	for range 5 + d.IntN(60) {
		if words := d.command(); words != nil {
			commands = append(commands, words)
		}
	}
	return commands
}

// command draws one command. It is nil if the command is left out.
func (d *drawer) command() []string {
	t := d.templates[d.IntN(len(d.templates))]
	if slices.Contains(rareCommands, t) && d.IntN(6) > 0 {
		return nil
	}
	words := strings.Fields(t)
	if !d.version.Since(7, 0) && slices.ContainsFunc(words, func(w string) bool { return slices.Contains(later, w) }) {
		return nil
	}
	for i, w := range words {
		words[i] = d.fill(w)
	}
	return words
}

// later are words that are new or changed in 7.0. For these, the gateway has the error texts of 7.0, also with an older
// server.
var later = []string{"SSUBSCRIBE", "SUNSUBSCRIBE", "CLIENT", "client", "XGROUP", "NOPE", "COMMAND", "CONFIG",
	"LMPOP", "BLMPOP", "BZMPOP", "SINTERCARD", "ZINTERCARD", "LCS", "FUNCTION", "FCALL", "EVAL_RO", "SORT_RO"}

func (d *drawer) fill(word string) string {
	r := d.Rand
	if len(word) < 2 || word[0] != '%' {
		return strings.Replace(word, "%n", fmt.Sprint(r.IntN(8)), 1)
	}
	kind, rest := word[1], word[2:]
	if word == "%tiny" || word == "%nokey" {
		return d.tag + word[1:]
	}
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
	return fmt.Sprintf("%s%c%d", d.tag, kind, r.IntN(3))
}
