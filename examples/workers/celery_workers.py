#!/usr/bin/python3
"""Runs tasks of Celery with a number of worker processes, each of which blocks in BRPOP.

    celery_workers.py PORT [--server PORT] [--workers 20] [--threads 10] [--tasks 2000]

PORT is the target of the workers: a Redis server, or a gateway in front of it. --server is the
Redis server itself, whose connections are counted. There are workers x threads concurrent tasks.
"""
import argparse
import os
import signal
import subprocess
import sys
import time

import celery
import redis

PORT = int(os.environ.get("RESPOOL_EXAMPLE_PORT", "6379"))
app = celery.Celery("celery_workers", broker=f"redis://127.0.0.1:{PORT}/0", backend=f"redis://127.0.0.1:{PORT}/1")
app.conf.update(worker_hijack_root_logger=False, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)


@app.task(name="double")
def double(n):
    redis.Redis(port=PORT).incr("respool:tasks")
    return 2 * n


def start(port, number, threads):
    environment = dict(os.environ, RESPOOL_EXAMPLE_PORT=str(port))
    command = [sys.executable, "-m", "celery", "-A", "celery_workers", "worker", "--pool", "threads",
               "--concurrency", str(threads), "--hostname", f"w{number}@example", "--loglevel", "error",
               "--without-gossip", "--without-mingle"]
    return subprocess.Popen(command, env=environment, cwd=os.path.dirname(os.path.abspath(__file__)),
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--server", type=int)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--threads", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=2000)
    args = parser.parse_args()
    app.conf.update(broker_url=f"redis://127.0.0.1:{args.port}/0", result_backend=f"redis://127.0.0.1:{args.port}/1")
    server = redis.Redis(port=args.server or args.port, single_connection_client=True)
    server.delete("celery", "respool:tasks")
    workers = [start(args.port, number, args.threads) for number in range(args.workers)]
    peak = 0

    def look():
        nonlocal peak
        peak = max(peak, server.info("clients")["connected_clients"] - 1)

    try:
        while len(app.control.inspect(timeout=2).ping() or {}) < args.workers:
            look()
        began = time.monotonic()
        results = [app.send_task("double", [n]) for n in range(args.tasks)]
        wrong = 0
        for n, result in enumerate(results):
            look()
            wrong += result.get(timeout=120) != 2 * n
        took = time.monotonic() - began
        runs = int(server.get("respool:tasks"))
    finally:
        for worker in workers:
            os.killpg(worker.pid, signal.SIGKILL)
        errors = [line for worker in workers for line in worker.stderr.read().decode().splitlines() if "rror" in line]
    print(f"Celery, {args.workers} workers of {args.threads} threads: {args.tasks} tasks in {took:.1f} s, "
          f"{runs} runs, {wrong} wrong results")
    print(f"peak: {peak} connections to the server")
    print("errors:", errors[:5] or "none")
    return 0 if wrong == 0 and runs == args.tasks and not errors else 1


if __name__ == "__main__":
    sys.exit(main())
