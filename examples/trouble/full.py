#!/usr/bin/env python3
"""A full server: cart opens connections until the server refuses one, and closes three of them, so
that an administrator can connect. Its own server has maxclients 100. Ctrl-C ends it."""
import time

from server import Trouble

t = Trouble(__doc__, "--maxclients", "100")


def make():
    try:
        while True:
            t.connect("cart:pod-1:main")
    except OSError as refused:
        print(f"after {len(t.open)} connections: {refused}", flush=True)
    for conn in t.open[-3:]:
        t.close(conn)
    t.ready()
    while True:
        time.sleep(1)


t.run(make)
