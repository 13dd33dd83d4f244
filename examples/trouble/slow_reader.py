#!/usr/bin/env python3
"""A slow reader: export requests replies of 128 MiB, and reads none of them. Ctrl-C ends it."""
import time

from server import Trouble

t = Trouble(__doc__)


def make():
    admin = t.connect("setup:pod-1:main")
    t.call(admin, "SET", "trouble:large", "x" * (4 << 20), "EX", 3600)
    reader = t.connect("export:pod-1:main")
    for _ in range(32):
        t.send(reader, "GET", "trouble:large")
    t.ready()
    while True:
        time.sleep(1)


t.run(make, lambda: t.call(t.connect(), "UNLINK", "trouble:large"))
