#!/usr/bin/env python3
"""Blocked consumers: 60 connections of jobs wait in BLPOP for work that nobody adds. Ctrl-C ends it."""
import time

from server import Trouble

t = Trouble(__doc__)


def make():
    for n in range(60):
        t.send(t.connect(f"jobs:pod-{n}:main"), "BLPOP", "trouble:jobs", 0)
    t.ready()
    while True:
        time.sleep(1)


t.run(make)
