#!/usr/bin/python3
"""Runs commands of 5,000 coroutines with redis-py's asyncio client, in whose pool each command in
flight takes a connection.

    storm.py PORT [--coroutines 5000] [--commands 10] [--server PORT] [--max-connections N]

PORT is the target of the commands: a Redis server, or a gateway in front of it. --server is the
Redis server itself, whose connections are counted. --max-connections limits the pool. The default
is redis-py's: no limit before version 8, and 100 since.
"""
import argparse
import asyncio
import collections
import resource
import time

import redis.asyncio as redis


async def one(client, number, commands, failures):
    done = 0
    for turn in range(commands):
        key = f"storm:{number}:{turn % 4}"
        try:
            await client.set(key, number)
            value = await client.get(key)
            if int(value) != number:
                failures["a wrong reply"] += 1
            done += 2
        except Exception as error:
            failures[f"{type(error).__name__}: {error}"[:80]] += 1
    return done


async def watch(port, most):
    """Records the peak number of connections at the server, over a separate connection."""
    client = redis.Redis(port=port, single_connection_client=True)
    try:
        while True:
            clients = (await client.info("clients"))["connected_clients"] - 1
            most["connections"] = max(most["connections"], clients)
            await asyncio.sleep(0.02)
    finally:
        await close(client)


async def close(client):
    await (client.aclose if hasattr(client, "aclose") else client.close)()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--coroutines", type=int, default=5000)
    parser.add_argument("--commands", type=int, default=10)
    parser.add_argument("--server", type=int)
    parser.add_argument("--max-connections", type=int)
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    most, failures = collections.Counter(), collections.Counter()
    watcher = asyncio.create_task(watch(args.server or args.port, most))
    await asyncio.sleep(0.1)
    limit = {} if args.max_connections is None else {"max_connections": args.max_connections}
    client = redis.Redis(connection_pool=redis.ConnectionPool(port=args.port, **limit))
    began = time.monotonic()
    done = await asyncio.gather(*(one(client, n, args.commands, failures) for n in range(args.coroutines)))
    took = time.monotonic() - began
    watcher.cancel()
    await close(client)
    await client.connection_pool.disconnect()

    print(f"{sum(done):,} of {2 * args.coroutines * args.commands:,} commands done in {took:.1f} s by {args.coroutines:,} coroutines")
    print(f"peak connections at the server: {most['connections']:,}")
    for failure, count in failures.most_common(3):
        print(f"{count:,} times {failure}")


asyncio.run(main())
