#!/usr/bin/env python3
"""A storm of short connections: search opens one for each request. Ctrl-C ends it."""
import time

from server import Trouble

t = Trouble(__doc__)


def make():
    n = 0
    while True:
        conn = t.connect("search:pod-1:main")
        t.call(conn, "GET", "trouble")
        time.sleep(0.005)
        t.close(conn)
        n += 1
        if n == 20:
            t.ready()


t.run(make)
