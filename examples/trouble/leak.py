#!/usr/bin/env python3
"""A leak: ten connections a second, without a name, used once and never closed. Ctrl-C ends it."""
import time

from server import Trouble

t = Trouble(__doc__)


def make():
    for n in range(100_000):
        t.call(t.connect(), "GET", "trouble")
        if n == 20:
            t.ready()
        time.sleep(0.1)


t.run(make)
