"""Measures workers of redis-py that wait in BLPOP, and prints the figures as JSON.

usage: workers.py SUBJECT_PORT SERVER_PORT WORKERS SECONDS RATE

The workers connect to 127.0.0.1:SUBJECT_PORT. The elements come from the server itself, at
127.0.0.1:SERVER_PORT: RATE a second or, if RATE is 0, so many that at most OUTSTANDING are not taken
yet. An element is the time of its push in ns.
"""

import asyncio
import json
import sys
import time

import redis.asyncio

KEY = "bench:jobs"
OUTSTANDING = 100
LIMIT = 60  # seconds beyond SECONDS, for connecting and ending


class Load:
    def __init__(self, subject, server, workers, seconds, rate):
        self.client = redis.asyncio.Redis(host="127.0.0.1", port=subject, decode_responses=True)
        self.server = redis.asyncio.Redis(host="127.0.0.1", port=server)
        self.workers, self.seconds, self.rate = workers, seconds, rate
        self.free = OUTSTANDING
        self.taken = asyncio.Event()
        self.total = 0
        self.measuring = self.over = False
        self.latencies = []

    async def work(self):
        while not self.over:
            _, element = await self.client.blpop(KEY, timeout=0)
            self.total += 1
            self.free += 1
            self.taken.set()
            if self.measuring:
                self.latencies.append(time.perf_counter_ns() - int(element))

    async def push(self, n):
        await self.server.rpush(KEY, *[time.perf_counter_ns()] * n)

    async def refill(self):
        while not self.over:
            self.taken.clear()
            if self.free:
                n, self.free = self.free, 0
                await self.push(n)
            else:
                await self.taken.wait()

    async def pace(self):
        at = time.perf_counter()
        while not self.over:
            at += 1 / self.rate
            await asyncio.sleep(max(0, at - time.perf_counter()))
            await self.push(1)

    async def measure(self):
        await asyncio.sleep(self.seconds / 5)
        began, cpu = time.perf_counter(), time.process_time()
        self.measuring = True
        await asyncio.sleep(self.seconds)
        self.measuring, self.over = False, True
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        self.taken.set()
        return took, cpu

    async def feed(self):
        await (self.pace() if self.rate else self.refill())
        await self.push(self.workers)  # so that every worker returns

    async def run(self):
        await self.server.delete(KEY)
        others = asyncio.gather(self.feed(), *[self.work() for _ in range(self.workers)])
        measured = asyncio.create_task(self.measure())
        await asyncio.wait([measured, others], return_when=asyncio.FIRST_COMPLETED)
        if others.done():
            others.result()  # a worker failed
        took, cpu = await measured
        await others
        await self.server.delete(KEY)
        n = len(self.latencies)
        if n == 0:
            raise SystemExit("no worker got an element: want a longer --time")
        self.latencies.sort()
        print(json.dumps({
            "ops": n / took,
            "p50": self.latencies[n // 2] / 1000,
            "p99": self.latencies[n * 99 // 100] / 1000,
            "cpu": cpu * 1e6 / n,
            "requests": self.total,
        }))


async def main():
    subject, server, workers, seconds, rate = sys.argv[1:]
    load = Load(int(subject), int(server), int(workers), float(seconds), int(rate))
    await asyncio.wait_for(load.run(), load.seconds * 2 + LIMIT)


asyncio.run(main())
