"""redis-py against one server, through its asyncio or its synchronous client.

usage: redispy.py asyncio|sync HOST PORT PROTOCOL [--auth USER:PASSWORD] [--cluster]
"""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import redis
import redis.asyncio
from program import arguments, big, digest, limit, say


class Threaded:
    """Lets the synchronous client be awaited like the other: each call runs on a thread."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        if name in ("pipeline", "pubsub", "register_script"):  # these ask the server nothing
            return lambda *args, **options: Threaded(value(*args, **options))
        return Threaded(value) if callable(value) or name == "connection_pool" else value

    async def __call__(self, *args, **options):
        made = await asyncio.to_thread(self._inner, *args, **options)
        return Threaded(made) if isinstance(made, redis.Connection) else made


class Program:
    def __init__(self, flavour, args):
        self.flavour, self.args = flavour, args
        self.clients = []
        self.prefix = f"redispy-{flavour}:{args.protocol}:"
        self.r = self.connect()
        self.other = self.connect()

    def connect(self, **options):
        options = {"host": self.args.host, "port": self.args.port, **options}
        if self.flavour == "asyncio":
            client = redis.asyncio.Redis(**options)
        else:
            client = Threaded(redis.Redis(**options))
        self.clients.append(client)
        return client

    def key(self, name):
        return self.prefix + name

    async def run(self):
        await self.hello()
        await self.strings()
        await self.collections()
        await self.pipelines()
        await self.transactions()
        await self.scripts()
        await self.blocking()
        await self.streams()
        await self.pubsub()
        await self.scans()
        await self.large()
        await self.connection()
        await self.replies()
        if not self.args.cluster:
            await self.databases()
            await self.reset()
        if self.args.auth:
            await self.auth(*self.args.auth.split(":", 1))
        await self.errors()
        await self.concurrent()
        await self.cleanup()

    async def hello(self):
        r = self.connect(single_connection_client=True)
        flat = await r.execute_command("HELLO")
        fields = dict(zip(flat[::2], flat[1::2]))
        for field in (b"server", b"proto", b"mode", b"role"):
            say("hello", field, fields[field])
        say("ping", await r.ping(), await r.echo("hello"))

    async def strings(self):
        r, key = self.r, self.key
        say("strings set", await r.set(key("s"), "value"), await r.set(key("s"), "no", nx=True))
        say("strings get", await r.get(key("s")), await r.get(key("none")))
        say("strings incr", await r.incr(key("n")), await r.incrby(key("n"), 41), await r.incrbyfloat(key("f"), 1.5))
        say("strings append", await r.append(key("s"), "-more"), await r.getrange(key("s"), 3, 7))
        say("strings mset", await r.mset({key("a"): "1", key("b"): "", key("c"): "3"}))
        say("strings mget", await r.mget(key("a"), key("b"), key("none"), key("c")))
        binary = bytes(range(256)) + b"\r\n\0$5\r\nhello\r\n*0\r\n\0"
        say("strings binary set", await r.set(key("bin\r\n\0"), binary))
        say("strings binary get", await r.get(key("bin\r\n\0")) == binary)
        say("strings expiry", await r.expire(key("a"), 1000), 990 < await r.ttl(key("a")) <= 1000, await r.persist(key("a")))
        say("strings delete", await r.delete(key("a"), key("none")), await r.exists(key("a"), key("b")))
        say("strings type", await r.type(key("s")), await r.getset(key("s"), "new"), await r.getdel(key("s")))

    async def collections(self):
        r, key = self.r, self.key
        say("hashes", await r.hset(key("h"), mapping={"f1": "1", "f2": "two"}), await r.hgetall(key("h")))
        say("hashes", await r.hincrby(key("h"), "f1", 4), await r.hmget(key("h"), "f1", "none"), await r.hdel(key("h"), "f2"))
        say("lists", await r.rpush(key("l"), "a", "b", "c", "d"), await r.lrange(key("l"), 0, -1))
        say("lists", await r.lpop(key("l")), await r.rpop(key("l"), 2), await r.lpop(key("none")), await r.llen(key("l")))
        say("sets", await r.sadd(key("set"), "x", "y", "z"), sorted(await r.smembers(key("set"))))
        say("sets", await r.sismember(key("set"), "x"), await r.srem(key("set"), "x"), await r.scard(key("set")))
        say("zsets", await r.zadd(key("z"), {"one": 1, "half": 0.5, "inf": float("inf")}))
        say("zsets", await r.zrange(key("z"), 0, -1, withscores=True), await r.zscore(key("z"), "half"))
        say("zsets", await r.zscore(key("z"), "none"), await r.zrank(key("z"), "inf"), await r.zpopmin(key("z")))

    async def pipelines(self):
        pipe = self.r.pipeline(transaction=False)
        for i in range(250):
            await pipe.set(self.key(f"p{i}"), i)
            await pipe.get(self.key(f"p{i}"))
            await pipe.incr(self.key("pn"))
            await pipe.delete(self.key(f"p{i}"))
        replies = await pipe.execute()
        say("pipeline", len(replies), replies[:4], replies[-4:], digest(repr(replies).encode()))
        pipe = self.r.pipeline(transaction=False)
        await pipe.set(self.key("ps"), "x")
        await pipe.lpush(self.key("ps"), "y")
        await pipe.get(self.key("ps"))
        say("pipeline error", await pipe.execute(raise_on_error=False))

    async def transactions(self):
        r, other, key = self.r, self.other, self.key
        pipe = r.pipeline(transaction=True)
        await pipe.set(key("t"), "1")
        await pipe.incr(key("t"))
        await pipe.lpush(key("t"), "wrong")
        await pipe.get(key("t"))
        say("multi", await pipe.execute(raise_on_error=False))
        for change in (False, True):
            pipe = r.pipeline()
            await pipe.watch(key("t"))
            value = int(await pipe.get(key("t")))
            if change:
                await other.set(key("t"), "100")
            pipe.multi() if self.flavour == "asyncio" else await pipe.multi()
            await pipe.set(key("t"), value + 1)
            await self.shown("watch", pipe.execute())
            await pipe.reset()
        say("watch", await r.get(key("t")))
        one = self.connect(single_connection_client=True)
        say("execabort", await one.execute_command("MULTI"), await one.execute_command("SET", key("t"), "9"))
        await self.shown("execabort", one.execute_command("NOSUCHCOMMAND", "a"))
        await self.shown("execabort", one.execute_command("GET"))
        await self.shown("execabort", one.execute_command("EXEC"))
        say("discard", await one.execute_command("MULTI"), await one.execute_command("SET", key("t"), "9"))
        say("discard", await one.execute_command("DISCARD"), await one.get(key("t")))
        await self.shown("discard", one.execute_command("EXEC"))

    async def scripts(self):
        r, key = self.r, self.key
        body = f"return {{KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}} -- {time.time_ns()}"
        say("eval", await r.eval(body, 1, key("n"), "argument"))
        say("eval", await r.eval("return {1, 'two', false, {ok='fine'}, {3, {4}}}", 0))
        await self.shown("eval", r.eval("return redis.error_reply('MINE own error')", 0))
        await self.shown("evalsha", r.evalsha("f" * 40, 0))
        script = r.register_script(body + "again")  # EVALSHA, and SCRIPT LOAD after NOSCRIPT
        for _ in range(2):
            say("evalsha", await script(keys=[key("n")], args=["x"]))
        sha = await r.script_load("return 'loaded'")
        say("script load", sha, await r.script_exists(sha, "0" * 40), await r.evalsha(sha, 0))

    async def blocked(self):
        """Waits until a client is blocked."""
        deadline = time.monotonic() + 10
        while not any(client["flags"] == "b" for client in await self.other.client_list()):
            if time.monotonic() > deadline:
                raise TimeoutError("no client is blocked")
            await asyncio.sleep(0.002)

    async def served(self, section, waiting, push):
        waiting = asyncio.ensure_future(waiting)
        await self.blocked()
        await push
        say(section, await waiting)

    async def blocking(self):
        r, other, key = self.r, self.other, self.key
        await self.served("blpop", r.blpop([key("{q}1"), key("{q}2")], 20), other.rpush(key("{q}2"), "job"))
        await self.served("blmove", r.blmove(key("{q}1"), key("{q}2"), 20, "LEFT", "RIGHT"), other.rpush(key("{q}1"), "moved"))
        say("blmove", await r.lrange(key("{q}2"), 0, -1))
        await self.served("bzpopmin", r.bzpopmin(key("bz"), 20), other.zadd(key("bz"), {"member": 2}))
        one = self.connect(single_connection_client=True)
        for error in (False, True):
            number = await one.client_id()
            waiting = asyncio.ensure_future(one.blpop([key("{q}1")], 20))
            await self.blocked()
            say("unblock", await other.client_unblock(number, error))
            await self.shown("unblock", waiting)
        say("blpop timeout", await r.blpop(key("{q}1"), 0.05), await r.blpop(key("{q}2"), 1))

    async def streams(self):
        r, other, key = self.r, self.other, self.key
        say("xadd", await r.xadd(key("x"), {"f": "1"}, id="1-1"), await r.xadd(key("x"), {"f": "2", "g": "3"}, id="2-1"))
        say("xgroup", await r.xgroup_create(key("x"), "g", id="0"), await r.xlen(key("x")))
        await self.shown("xgroup", r.xgroup_create(key("x"), "g", id="0"))
        say("xreadgroup", await r.xreadgroup("g", "one", {key("x"): ">"}, count=10))
        waiting = r.xreadgroup("g", "two", {key("x"): ">"}, block=20000)
        await self.served("xreadgroup block", waiting, other.xadd(key("x"), {"f": "late"}, id="3-1"))
        say("xreadgroup timeout", await r.xreadgroup("g", "two", {key("x"): ">"}, block=30))
        await self.served("xread block", r.xread({key("x"): "$"}, block=20000), other.xadd(key("x"), {"f": "last"}, id="4-1"))
        say("xack", await r.xack(key("x"), "g", "1-1", "9-9"), await r.xpending(key("x"), "g"))
        pending = await r.xpending_range(key("x"), "g", "-", "+", 10)
        say("xpending", [(p["message_id"], p["consumer"], p["times_delivered"]) for p in pending])
        say("xautoclaim", await r.xautoclaim(key("x"), "g", "two", 0, count=10))
        say("xrange", await r.xrange(key("x")), await r.xdel(key("x"), "1-1"))

    async def message(self, sub):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if got := await sub.get_message(timeout=1):
                return got["type"], got["pattern"], got["channel"], got["data"]
        raise TimeoutError("no message came")

    async def pubsub(self):
        r, other, key = self.r, self.other, self.key
        sub = r.pubsub()
        await sub.subscribe(key("{ch}1"), key("{ch}2"))
        await sub.psubscribe(key("{ch}?"))
        for _ in range(3):
            say("subscribe", await self.message(sub))
        say("pubsub", sorted(await other.pubsub_channels(key("*"))), await other.pubsub_numsub(key("{ch}1"), key("none")), await other.pubsub_numpat())
        say("publish", await other.publish(key("{ch}1"), b"\0bin\r\n"), await other.publish(key("{ch}3"), "three"), await other.publish(key("nobody"), ""))
        for _ in range(3):
            say("message", await self.message(sub))
        await sub.unsubscribe(key("{ch}1"))
        say("unsubscribe", await self.message(sub))
        say("publish", await other.publish(key("{ch}1"), "pattern only"))
        say("message", await self.message(sub))
        await sub.punsubscribe()
        await sub.unsubscribe()
        say("unsubscribe", await self.message(sub), await self.message(sub))
        say("publish", await other.publish(key("{ch}1"), "none"))
        await sub.close()

    async def all(self, scan):
        cursor, found = 0, []
        while True:
            cursor, page = await scan(cursor)
            found += page.items() if isinstance(page, dict) else page
            if cursor == 0:
                return sorted(found)

    async def scans(self):
        r, key = self.r, self.key
        await r.mset({key(f"scan{i}"): i for i in range(300)})
        await r.hset(key("bigh"), mapping={f"f{i}": i for i in range(700)})
        await r.sadd(key("bigs"), *(f"m{i}" for i in range(300)))
        found = await self.all(lambda c: r.scan(c, match=key("scan*"), count=20))
        say("scan", len(set(found)), found[0], digest(repr(sorted(set(found))).encode()))
        found = set(await self.all(lambda c: r.hscan(key("bigh"), c, count=20)))
        say("hscan", len(found), digest(repr(sorted(found)).encode()))
        found = set(await self.all(lambda c: r.sscan(key("bigs"), c, count=20)))
        say("sscan", len(found), digest(repr(sorted(found)).encode()))

    async def large(self):
        value = big()
        say("large set", await self.r.set(self.key("big"), value), await self.r.strlen(self.key("big")))
        got = await self.r.get(self.key("big"))
        say("large get", len(got), digest(got), await self.r.delete(self.key("big")))

    async def databases(self):
        one = self.connect(db=1)
        say("select", await one.set(self.key("db"), "in 1"), await self.r.get(self.key("db")), await one.get(self.key("db")))
        single = self.connect(single_connection_client=True)
        say("select", await single.select(1), await single.get(self.key("db")), await single.select(0), await single.get(self.key("db")))
        await self.shown("select", single.execute_command("SELECT", 99))
        say("select", await one.delete(self.key("db")))

    async def connection(self):
        one, name = self.connect(single_connection_client=True), self.key("name")
        say("client", await one.client_getname(), await one.client_setname(name), await one.client_getname())
        listed = [c["name"] for c in await one.client_list()]
        say("client list", listed.count(name), isinstance(await one.client_id(), int))
        info = await one.client_info()
        say("client info", info["name"] == name, info["id"] == await one.client_id(), info["db"], info["user"])
        await self.shown("client", one.client_setname("with space"))
        await self.shown("client", one.client_no_evict("ON"))
        await self.shown("client", one.client_no_evict("OFF"))
        await self.shown("client", one.execute_command("CLIENT", "NOSUCH"))

    async def replies(self):
        conn = await self.connect().connection_pool.get_connection("CLIENT")
        for command in (
            ("CLIENT", "REPLY", "OFF"),
            ("SET", self.key("quiet"), "1"),
            ("GET", self.key("quiet")),
            ("CLIENT", "REPLY", "ON"),
            ("INCR", self.key("quiet")),
            ("CLIENT", "REPLY", "SKIP"),
            ("INCR", self.key("quiet")),
            ("INCR", self.key("quiet")),
        ):
            await conn.send_command(*command)
        say("client reply", [await conn.read_response() for _ in range(3)])
        await conn.disconnect()

    async def reset(self):
        one = self.connect(single_connection_client=True)
        say("reset", await one.client_setname("gone"), await one.select(1), await one.execute_command("MULTI"))
        say("reset", await one.execute_command("RESET"), await one.client_getname(), await one.get(self.key("n")))

    async def auth(self, user, password):
        key = self.key
        alice = self.connect(username=user, password=password)
        say("auth", await alice.acl_whoami(), await alice.set(key("alice:k"), "hers"), await alice.get(key("alice:k")))
        await self.shown("auth", alice.get(key("n")))
        await self.shown("auth", alice.execute_command("KEYS", "*"))
        await self.shown("auth wrong password", self.connect(username=user, password="wrong").ping())
        await self.shown("auth no such user", self.connect(username="nobody", password=password).ping())
        one = self.connect(single_connection_client=True)
        say("auth", await one.acl_whoami(), await one.execute_command("AUTH", user, password), await one.acl_whoami())
        await self.shown("auth", one.execute_command("AUTH", user, "wrong"))
        say("auth", await one.acl_whoami(), await self.r.acl_whoami(), await self.r.get(key("alice:k")))

    async def errors(self):
        r, key = self.r, self.key
        await self.shown("errors", r.lpush(key("n"), "x"))
        await self.shown("errors", r.execute_command("NOSUCHCOMMAND", "some", "arguments"))
        await self.shown("errors", r.execute_command("GET"))
        await self.shown("errors", r.execute_command("SET", key("n"), "1", "BADOPTION"))
        await self.shown("errors", r.incr(key("b")))
        await self.shown("errors", r.execute_command("CONFIG", "NOSUCH"))
        say("errors", await r.ping())

    async def shown(self, section, awaitable):
        """Reports what comes, a reply or the server's error."""
        try:
            say(section, await awaitable)
        except redis.RedisError as e:
            say(section, f"{type(e).__name__}: {e}")

    async def concurrent(self):
        async def task():
            return [await self.r.incr(self.key("count")) for _ in range(10)]

        got = await asyncio.gather(*(task() for _ in range(200)))
        seen = sorted(n for numbers in got for n in numbers)
        rising = all(numbers == sorted(numbers) for numbers in got)
        say("concurrent", seen == list(range(1, 2001)), rising, await self.r.get(self.key("count")))

    async def cleanup(self):
        keys = set(await self.all(lambda c: self.r.scan(c, match=self.key("*"), count=500)))
        say("cleanup", await self.r.delete(*keys))
        for client in self.clients:
            await client.close()
            await client.connection_pool.disconnect()
        say("close", "done")


async def main():
    flavour = sys.argv.pop(1)
    if flavour not in ("asyncio", "sync"):
        sys.exit(__doc__)
    args = arguments("redispy.py")
    if args.protocol != 2:
        sys.exit(f"redis-py {redis.__version__} speaks only RESP2")
    limit()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(200))
    await Program(flavour, args).run()


asyncio.run(main())
