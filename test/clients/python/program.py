"""What the Python programs share: arguments, the report's lines and the time limit."""

import argparse
import hashlib
import os
import signal
import sys

LIMIT = 60  # seconds that a program may take
BIG = 64 << 20  # bytes of the large value


def arguments(name):
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("protocol", type=int, choices=(2, 3))
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="a user who may touch only *:alice:* and not run KEYS")
    parser.add_argument("--cluster", action="store_true", help="the server is a cluster that appears as one server")
    return parser.parse_args()


def say(section, *parts):
    """Prints a line of the report."""
    print(f"{section}: " + " ".join(str(part) for part in parts), flush=True)


def big():
    """A value of 64 MiB with every byte in it, the same in each run."""
    return bytes(range(256)) * (BIG // 256)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def limit():
    """Ends the program when its time is over, whatever it waits for."""

    def over(*_):
        sys.stdout.flush()
        os.write(2, b"not done after %d s\n" % LIMIT)
        os._exit(3)

    signal.signal(signal.SIGALRM, over)
    signal.alarm(LIMIT)
