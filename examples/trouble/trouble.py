#!/usr/bin/env python3
"""Three services on one Redis server, two of them with a fault.

  cart     leaks: it opens connections and never closes one
  search   opens a connection for each request
  orders   has a pool of fixed size, and uses it

Usage: trouble.py [--host 127.0.0.1] [--port 6379] [--leak 2] [--storm 150] [--pool 40] [--seconds 600]

Needs only Python. Ctrl-C ends it and closes all connections. Meanwhile, watch it:

  respool top redis://127.0.0.1:6379
  respool doctor redis://127.0.0.1:6379
"""
import argparse
import asyncio
import time


async def connect(args, name):
    reader, writer = await asyncio.open_connection(args.host, args.port)
    writer.write(f"CLIENT SETNAME {name}\r\n".encode())
    answer = await reader.readline()
    if not answer.startswith(b"+OK"):
        writer.close()
        raise ConnectionError(answer.decode().strip())
    return reader, writer


async def get(conn):
    reader, writer = conn
    writer.write(b"GET trouble\r\n")
    if await reader.readline() not in (b"$-1\r\n", b"_\r\n"):
        await reader.readline()


async def leak(args, held, refused):
    while True:
        try:
            held.append(await connect(args, "cart:pod-1:main"))
        except OSError:
            refused["cart"] = refused.get("cart", 0) + 1
        await asyncio.sleep(1 / args.leak)


async def storm(args, refused):
    async def request():
        try:
            conn = await connect(args, "search:pod-1:main")
            await get(conn)
            await asyncio.sleep(0.02)
            conn[1].close()
        except OSError:
            refused["search"] = refused.get("search", 0) + 1

    tasks = set()
    while True:
        task = asyncio.create_task(request())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(1 / args.storm)


async def pool(args, conns):
    while True:
        for conn in conns:
            await get(conn)
        await asyncio.sleep(0.05)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--leak", type=float, default=2, help="connections a second that cart leaks")
    parser.add_argument("--storm", type=float, default=150, help="requests a second of search")
    parser.add_argument("--pool", type=int, default=40, help="connections of orders")
    parser.add_argument("--seconds", type=float, default=600)
    args = parser.parse_args()

    held, refused = [], {}
    orders = [await connect(args, "orders:pod-1:main") for _ in range(args.pool)]
    tasks = [asyncio.create_task(t) for t in (leak(args, held, refused), storm(args, refused), pool(args, orders))]
    began = time.time()
    try:
        while time.time() - began < args.seconds:
            await asyncio.sleep(10)
            print(f"{time.time() - began:4.0f} s: cart holds {len(held)}, orders {len(orders)}; refused {refused or 'none'}", flush=True)
    finally:
        for t in tasks:
            t.cancel()
        for _, writer in held + orders:
            writer.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
