"""The asyncio cluster client of redis-py.

usage: redispycluster.py HOST PORT PROTOCOL
"""

import asyncio

import redis
from program import arguments, limit, say
from redis.asyncio.cluster import RedisCluster


async def shown(section, awaitable):
    """Reports what comes, a reply or the server's error."""
    try:
        say(section, await awaitable)
    except redis.RedisError as e:
        say(section, type(e).__name__, e)


async def everything(args):
    r = RedisCluster(host=args.host, port=args.port)
    keys = [f"redispy:{i}" for i in range(100)]
    for section, command in (("set", lambda k: r.set(k, 1)), ("incr", r.incr), ("get", r.get)):
        for reply in await asyncio.gather(*(command(k) for k in keys)):
            say(section, reply)
    pipe = r.pipeline()
    for k in keys:
        pipe.incr(k).get(k)
    say("pipeline", await pipe.execute())
    say("mset", await r.mset_nonatomic({k: "m" for k in keys[:9]}), await r.mget_nonatomic(keys[:9]))
    say("dbsize", await r.dbsize(target_nodes="primaries"), sorted(await r.keys("redispy:1*", target_nodes="primaries")))
    await shown("errors", r.lpush(keys[1], "x"))
    await shown("errors", r.set(keys[1], "x", nx=True, xx=True))
    for k in keys[:10]:
        say("script", await r.eval("return {KEYS[1], redis.call('APPEND', KEYS[1], 'x')}", 1, k))
    popped = asyncio.ensure_future(r.blpop(["{py}q1", "{py}q2"], 20))
    say("blpop", await r.rpush("{py}q2", "job"), await popped, await r.blpop("{py}q1", 1))
    say("streams", await r.xadd("redispy:x", {"f": "1"}, id="1-1"), await r.xread({"redispy:x": "0"}, block=1000))
    say("delete", await r.delete(*keys, "{py}q2", "redispy:x"), await r.exists(*keys), await r.cluster_keyslot("redispy:1"))
    await r.close()


if __name__ == "__main__":
    given = arguments("redispycluster.py")
    limit()
    asyncio.run(everything(given))
