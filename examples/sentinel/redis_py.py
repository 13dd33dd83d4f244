#!/usr/bin/python3
"""Measures redis-py's asyncio client while the primary of a Sentinel set dies.

    redis_py.py [--callers 200] [--pool 10] [--seconds 15] [--kill-after 3] host:port,host:port service

Half of the callers GET, half INCR, each at most `--pool` at a time, since the
pool raises an error for every further one. After `--kill-after` seconds the
primary is ended with kill -9, which has to be a process of this machine. It
needs Debian's python3-redis and prints one JSON object.
"""
import argparse
import asyncio
import collections
import json
import os
import signal
import time

from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel

NAME = "redis-py-trial"


class Seen:
    def __init__(self):
        self.ops, self.last, self.outage, self.errors = 0, None, 0.0, collections.Counter()

    def success(self):
        now = time.monotonic()
        if self.last is not None:
            self.outage = max(self.outage, now - self.last)
        self.ops, self.last = self.ops + 1, now


async def caller(seen, gate, end, command):
    while time.monotonic() < end:
        async with gate:
            try:
                await command()
                seen.success()
            except Exception as e:  # users get every exception of the client
                seen.errors[type(e).__name__] += 1
        await asyncio.sleep(0.005)


async def count(addr, peaks, end):
    """Samples the number of connections with our name at a server."""
    host, port = addr
    while time.monotonic() < end:
        try:
            async with Redis(host=host, port=port) as r:
                while time.monotonic() < end:
                    clients = await r.client_list()
                    n = sum(c["name"] == NAME for c in clients)
                    key = f"{host}:{port}"
                    peaks[key] = max(peaks.get(key, 0), n)
                    await asyncio.sleep(0.025)
        except Exception:
            await asyncio.sleep(0.1)


async def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--callers", type=int, default=200)
    p.add_argument("--pool", type=int, default=10)
    p.add_argument("--seconds", type=float, default=15)
    p.add_argument("--kill-after", type=float, default=3)
    p.add_argument("sentinels")
    p.add_argument("service")
    a = p.parse_args()
    addrs = [tuple(s.rsplit(":", 1)) for s in a.sentinels.split(",")]
    sentinel = Sentinel(addrs, socket_timeout=5, sentinel_kwargs={"client_name": NAME, "socket_timeout": 1})
    primary = sentinel.master_for(a.service, max_connections=a.pool, socket_timeout=5, client_name=NAME)
    old = await sentinel.discover_master(a.service)
    nodes = [old] + await sentinel.discover_slaves(a.service)

    end = time.monotonic() + a.seconds
    gate = asyncio.Semaphore(a.pool)
    reads, writes, peaks = Seen(), Seen(), {}
    tasks = [count(n, peaks, end) for n in nodes + addrs]
    for i in range(a.callers):
        if i % 2:
            tasks.append(caller(reads, gate, end, lambda: primary.get("trial:key")))
        else:
            tasks.append(caller(writes, gate, end, lambda key=f"trial:{i}": primary.incr(key)))

    async def kill():
        await asyncio.sleep(a.kill_after)
        async with Redis(host=old[0], port=old[1]) as r:
            pid = (await r.info("server"))["process_id"]
        os.kill(pid, signal.SIGKILL)

    await asyncio.gather(kill(), *tasks)
    print(json.dumps({
        "reads": reads.ops, "read_errors": reads.errors, "read_outage_s": round(reads.outage, 2),
        "writes": writes.ops, "write_errors": writes.errors, "write_outage_s": round(writes.outage, 2),
        "peak_sockets": peaks,
    }))


asyncio.run(main())
