#!/usr/bin/python3
"""Runs jobs with many workers of redis-py's asyncio client, each of which blocks in BLPOP.

    workers.py PORT [--server PORT] [--workers 200] [--jobs 20000]

PORT is the target of the workers: a Redis server, or a gateway in front of it. --server is the
Redis server itself, whose connections are counted.
"""
import argparse
import asyncio
import collections
import sys
import time

import redis.asyncio as redis


async def work(client, seen, failures):
    while True:
        try:
            popped = await client.blpop("respool:jobs", timeout=5)
        except Exception as error:
            failures[f"{type(error).__name__}: {error}"[:80]] += 1
            await asyncio.sleep(0.1)
            continue
        if popped is None:
            continue
        if popped[1] == b"end":
            return
        seen[popped[1]] += 1


async def count(port, most):
    """Records the peak number of connections at the server, over a separate connection."""
    client = redis.Redis(port=port, single_connection_client=True)
    try:
        while True:
            clients = (await client.info("clients"))["connected_clients"] - 1
            most["connections"] = max(most["connections"], clients)
            await asyncio.sleep(0.05)
    finally:
        await close(client)


async def close(client):
    await (client.aclose if hasattr(client, "aclose") else client.close)()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--server", type=int)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=20000)
    args = parser.parse_args()
    client = redis.Redis(port=args.port)
    await client.delete("respool:jobs")
    seen, failures, most = collections.Counter(), collections.Counter(), collections.Counter()
    counting = asyncio.create_task(count(args.server or args.port, most))
    workers = [asyncio.create_task(work(client, seen, failures)) for _ in range(args.workers)]
    await asyncio.sleep(1)
    began = time.monotonic()
    for start in range(0, args.jobs, 100):
        await client.rpush("respool:jobs", *range(start, min(start + 100, args.jobs)))
    await client.rpush("respool:jobs", *["end"] * args.workers)
    await asyncio.wait(workers, timeout=120)
    took = time.monotonic() - began
    counting.cancel()
    await asyncio.wait([counting])
    await close(client)
    twice = sum(1 for n in seen.values() if n > 1)
    print(f"redis-py, {args.workers} workers: {len(seen)} of {args.jobs} jobs in {took:.1f} s, {twice} of them twice")
    print(f"peak: {most['connections']} connections to the server")
    print("errors:", dict(failures) or "none")
    return 0 if len(seen) == args.jobs and not failures else 1


sys.exit(asyncio.run(main()))
