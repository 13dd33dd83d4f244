#!/usr/bin/env python3
"""KEYS on 300,000 keys: reports sends it ten times a second. Ctrl-C ends it, and deletes the keys."""
import time

from server import Trouble

t = Trouble(__doc__)
EACH = "for i = ARGV[1], ARGV[1] + 9999 do redis.call({}) end return 1"


def fill(command):
    conn = t.connect("setup:pod-1:main")
    for first in range(0, 300_000, 10_000):
        t.call(conn, "EVAL", EACH.format(command), 0, first)


def make():
    fill("'SET', 'trouble:' .. i, i")
    conn = t.connect("reports:pod-1:main")
    t.ready()
    while True:
        t.call(conn, "KEYS", "none:*")
        time.sleep(0.1)


t.run(make, lambda: fill("'UNLINK', 'trouble:' .. i"))
