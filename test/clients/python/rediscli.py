"""redis-cli against one server.

usage: rediscli.py HOST PORT PROTOCOL [--auth USER:PASSWORD] [--cluster]
"""

import itertools
import re
import subprocess
import time

from program import arguments, big, digest, limit, say


class Program:
    def __init__(self, args):
        self.args = args
        self.prefix = f"rediscli:{args.protocol}:"
        self.command = ["redis-cli", "-h", args.host, "-p", str(args.port), f"-{args.protocol}"]

    def key(self, name):
        return self.prefix + name

    def start(self, *words, **options):
        """Starts a redis-cli."""
        return subprocess.Popen(
            [*self.command, *words],
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **options,
        )

    def run(self, *words, data=None):
        """Gives what one redis-cli prints, with data as its standard input."""
        process = self.start(*words, stdin=subprocess.DEVNULL if data is None else subprocess.PIPE)
        out, _ = process.communicate(data)
        return out

    def session(self, section, commands, *options):
        """Runs commands on one connection, @ standing for the prefix, and reports what is printed."""
        commands = commands.replace("@", self.prefix)
        out = self.run("--no-raw", *options, data=commands.encode())
        for line in self.lines(out):
            say(section, line)

    def lines(self, out):
        return [line.rstrip().decode(errors="backslashreplace") for line in out.split(b"\n") if line.strip()]

    def everything(self):
        self.hello()
        self.session("strings", STRINGS)
        self.session("hashes", HASHES)
        self.session("lists", LISTS)
        self.session("sets", SETS)
        self.session("zsets", ZSETS)
        self.pipeline()
        self.transactions()
        self.scripts()
        self.blocking()
        self.streams()
        self.pubsub()
        self.scans()
        self.large()
        self.connection()
        if not self.args.cluster:
            self.session("select", SELECT)
            self.session("reset", RESET)
        if self.args.protocol == 3 and not self.args.cluster:
            self.session("tracking", TRACKING, "--show-pushes", "yes")
        if self.args.auth:
            self.auth(*self.args.auth.split(":", 1))
        self.session("errors", ERRORS)
        self.concurrent()
        self.cleanup()

    def hello(self):
        words = self.run("HELLO").decode().split()
        fields = dict(zip(words, words[1:]))
        for field in ("server", "proto", "mode", "role"):
            say("hello", field, fields[field])
        self.session("ping", 'PING\nECHO "two words"\nPING text\n')

    def pipeline(self):
        data = "".join(f"INCR @pipe\nSET @p{i} {i}\nGET @p{i}\nDEL @p{i}\n" for i in range(250)).replace("@", self.prefix)
        out = self.run("--no-raw", data=data.encode())
        say("pipeline", out.count(b"\n"), digest(out), self.lines(out)[-4:])
        say("pipe", self.lines(self.run("--pipe", data=data.encode()))[-1])
        quiet = "CLIENT REPLY OFF\r\nINCR @q\r\nGET @q\r\nCLIENT REPLY ON\r\nINCR @q\r\nCLIENT REPLY SKIP\r\nINCR @q\r\nLPUSH @q x\r\n"
        say("client reply", self.lines(self.run("--pipe", data=quiet.replace("@", self.prefix).encode()))[-1])
        self.session("client reply", "GET @q\n")

    def transactions(self):
        self.session("multi", MULTI)
        for section, change in (("watch", ""), ("watch changed", "SET @t 100")):
            one = self.start("--no-raw", stdin=subprocess.PIPE)
            one.stdin.write(f"WATCH {self.key('t')}\nGET {self.key('t')}\n".encode())
            one.stdin.flush()
            seen = one.stdout.readline() + one.stdout.readline()
            if change:
                self.session(section, change)
            out, _ = one.communicate(f"MULTI\nINCR {self.key('t')}\nEXEC\nGET {self.key('t')}\n".encode())
            say(section, self.lines(seen + out))

    def scripts(self):
        commands = SCRIPTS.replace("#", str(time.time_ns()))
        self.session("scripts", commands)

    def served(self, section, words, push):
        waiting = self.start("--no-raw", *(word.replace("@", self.prefix) for word in words.split()))
        deadline = time.monotonic() + 10
        while b" flags=b " not in self.run("CLIENT", "LIST"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{words} does not block")
        self.session(section, push)
        say(section, self.lines(waiting.communicate()[0]))

    def blocking(self):
        self.served("blpop", "BLPOP @{q}1 @{q}2 20", "RPUSH @{q}2 job")
        self.served("blmove", "BLMOVE @{q}1 @{q}2 LEFT RIGHT 20", "RPUSH @{q}1 moved")
        self.served("bzpopmin", "BZPOPMIN @bz 20", "ZADD @bz 2 member")
        self.session("blpop timeout", "BLPOP @{q}1 0.05\nBLPOP @{q}2 1\nBLPOP @{q}2 nonsense\n")

    def streams(self):
        self.session("streams", STREAMS)
        self.served("xreadgroup block", "XREADGROUP GROUP g two BLOCK 20000 STREAMS @x >", "XADD @x 3-1 f late")
        self.served("xread block", "XREAD BLOCK 20000 STREAMS @x $", "XADD @x 4-1 f last")
        self.session("streams", STREAMS_LATER)

    def pubsub(self):
        for kind, name, lines in (("SUBSCRIBE", "{ch}1", 9), ("PSUBSCRIBE", "{pattern}*", 12)):
            sub = self.start("--no-raw", kind, self.key(name), self.key("other-" + name))
            printed = (line.rstrip().decode() for line in sub.stdout)
            for line in itertools.islice(printed, 7):
                say("subscribe", line)
            self.session("publish", PUBLISH.replace("NAME", name.rstrip("*")))
            for line in itertools.islice(printed, lines):
                say("message", line)
            sub.kill()
            sub.wait()

    def scans(self):
        sets = "".join(f"SET @scan{i} {i}\nSADD @bigs m{i}\nHSET @bigh f{i} {i}\n" for i in range(600)).replace("@", self.prefix)
        say("scan", self.lines(self.run("--pipe", data=sets.encode()))[-1])
        found = sorted(set(self.run("--scan", "--pattern", self.key("scan*")).split()))
        say("scan", len(found), digest(b" ".join(found)))
        for command, name, step in (("HSCAN", "bigh", 2), ("SSCAN", "bigs", 1)):
            cursor, found = "0", set()
            while cursor != "0" or not found:
                cursor, *page = self.run(command, self.key(name), cursor, "COUNT", "100").decode().split()
                found |= set(page[::step])
            say(command.lower(), len(found), digest(" ".join(sorted(found)).encode()))

    def large(self):
        value = big()
        say("large set", self.lines(self.run("-x", "SET", self.key("big"), data=value)))
        got = self.run("GET", self.key("big"))[:-1]
        say("large get", len(got), digest(got))
        self.session("large", "STRLEN @big\nDEL @big\n")

    def connection(self):
        self.session("client", CLIENT)
        say("client id", re.sub(rb"\d+", b"N", self.run("--no-raw", "CLIENT", "ID")))
        out = self.run(data=f"CLIENT SETNAME {self.key('name')}\nCLIENT LIST\nCLIENT INFO\n".encode()).decode()
        say("client list", out.count(f" name={self.key('name')} "))

    def auth(self, user, password):
        as_user = ("--user", user, "--pass", password, "--no-auth-warning")
        self.session("auth", AUTH_AS_USER, *as_user)
        self.session("auth wrong password", "PING\n", "--user", user, "--pass", "wrong", "--no-auth-warning")
        self.session("auth", AUTH.replace("USER", user).replace("PASSWORD", password))

    def concurrent(self):
        tasks = [self.start("-r", "10", "INCR", self.key("count")) for _ in range(200)]
        got = [[int(n) for n in task.communicate()[0].split()] for task in tasks]
        seen = sorted(n for numbers in got for n in numbers)
        rising = all(numbers == sorted(numbers) for numbers in got)
        say("concurrent", seen == list(range(1, 2001)), rising, self.lines(self.run("GET", self.key("count"))))

    def cleanup(self):
        keys = sorted(set(self.run("--scan", "--pattern", self.key("*")).split()))
        say("cleanup", self.lines(self.run("-x", "DEL", *keys[:-1], data=keys[-1])))
        self.session("quit", "QUIT\n")


STRINGS = r"""
SET @s value
SET @s no NX
GET @s
GET @none
INCR @n
INCRBY @n 41
INCRBYFLOAT @f 1.5
APPEND @s -more
GETRANGE @s 3 7
MSET @a 1 @b "" @c 3
MGET @a @b @none @c
SET "@bin\r\n\x00" "\x00\r\n$5\r\nhello\r\n*0\r\n\xff"
GET "@bin\r\n\x00"
DEL @a @none
EXISTS @a @b
TYPE @s
GETDEL @s
DEL "@bin\r\n\x00"
"""

HASHES = """
HSET @h f1 1 f2 two
HGETALL @h
HGETALL @none
HINCRBY @h f1 4
HMGET @h f1 none
HDEL @h f2
"""

LISTS = """
RPUSH @l a b c d
LRANGE @l 0 -1
LPOP @l
RPOP @l 2
LPOP @none
LLEN @l
"""

SETS = """
SADD @set 3 1 2
SMEMBERS @set
SISMEMBER @set 1
SREM @set 1
SCARD @set
"""

ZSETS = """
ZADD @z 1 one 0.5 half inf inf
ZRANGE @z 0 -1 WITHSCORES
ZSCORE @z half
ZSCORE @z none
ZRANK @z inf
ZPOPMIN @z
"""

MULTI = """
MULTI
SET @t 1
INCR @t
LPUSH @t wrong
GET @t
EXEC
MULTI
SET @t 9
NOSUCHCOMMAND a
GET
EXEC
EXEC
MULTI
SET @t 9
DISCARD
DISCARD
GET @t
"""

SCRIPTS = """
EVAL "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])} -- #" 1 @n argument
EVAL "return {1, 'two', false, {ok='fine'}, {3, {4}}}" 0
EVAL "return redis.error_reply('MINE own error')" 0
EVAL "redis.setresp(3) return {redis.call('HGETALL', KEYS[1]), {double=1.5}, {map={a=1}}, true}" 1 @h
EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
SCRIPT LOAD "return 'loaded'"
SCRIPT EXISTS b534286061d4b9e4026607613b95c06c06015ae8 0000000000000000000000000000000000000000
EVALSHA b534286061d4b9e4026607613b95c06c06015ae8 0
"""

PUBLISH = r"""
PUBLISH @NAME first
PUBLISH @NAME "\x00\r\n"
PUBLISH @other-NAME third
PUBLISH @nobody fourth
PUBSUB NUMSUB @NAME @nobody
PUBSUB NUMPAT
"""

STREAMS = """
XADD @x 1-1 f 1
XADD @x 2-1 f 2 g 3
XADD @x 2-1 f 2
XGROUP CREATE @x g 0
XGROUP CREATE @x g 0
XREADGROUP GROUP g one COUNT 10 STREAMS @x >
XREADGROUP GROUP g two BLOCK 30 STREAMS @x >
"""

STREAMS_LATER = """
XACK @x g 1-1 9-9
XPENDING @x g
XAUTOCLAIM @x g two 0 0 COUNT 10
XRANGE @x - +
XDEL @x 1-1
"""

SELECT = """
SELECT 1
SET @db "in 1"
SELECT 0
GET @db
SELECT 1
GET @db
DEL @db
SELECT 99
"""

CLIENT = """
CLIENT GETNAME
CLIENT SETNAME @name
CLIENT GETNAME
CLIENT SETNAME "with space"
CLIENT NO-EVICT ON
CLIENT NO-EVICT OFF
CLIENT REPLY ON
CLIENT NOSUCH
CLIENT UNBLOCK 999999999
"""

RESET = """
CLIENT SETNAME gone
SELECT 1
MULTI
RESET
CLIENT GETNAME
GET @n
EXEC
"""

TRACKING = """
CLIENT TRACKING ON
GET @n
GET @c
INCR @c
PING
CLIENT TRACKING OFF
INCR @n
PING
"""

AUTH_AS_USER = """
ACL WHOAMI
SET @alice:k hers
GET @alice:k
GET @n
KEYS *
"""

AUTH = """
ACL WHOAMI
AUTH USER PASSWORD
ACL WHOAMI
AUTH USER wrong
AUTH nobody PASSWORD
AUTH
ACL WHOAMI
"""

ERRORS = """
LPUSH @n x
NOSUCHCOMMAND some arguments
GET
SET @n 1 BADOPTION
INCR @b
CONFIG NOSUCH
PING
"""

if __name__ == "__main__":
    arguments_given = arguments("rediscli.py")
    limit()
    Program(arguments_given).everything()
