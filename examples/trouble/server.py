"""Connections and servers for the scripts of this folder."""
import argparse
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


class Trouble:
    """The server of a script: one of its own, or the one at --port."""

    def __init__(self, doc, *server_args):
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, help="a server that runs; default: the script starts one")
        args = parser.parse_args()
        self.host, self.port, self.server, self.dir, self.open = args.host, args.port, None, None, []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        if self.port is None:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.host, self.port = free.getsockname()
            self.dir = tempfile.mkdtemp()
            self.server = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir, *server_args],
                stdout=subprocess.DEVNULL)

    def connect(self, name=None):
        """Opens a connection. It raises ConnectionError if the server is full."""
        for attempt in range(100):
            try:
                conn = socket.create_connection((self.host, self.port))
                break
            except ConnectionRefusedError:
                if self.server is None or attempt == 99:
                    raise
                time.sleep(0.1)  # the server starts
        self.open.append(conn)
        if name:
            answer = self.call(conn, "CLIENT", "SETNAME", name)
            if not answer.startswith(b"+OK"):
                self.close(conn)
                raise ConnectionError(answer.decode().strip())
        return conn

    @staticmethod
    def send(conn, *args):
        words = [str(a).encode() for a in args]
        conn.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def call(self, conn, *args):
        """Sends a command with a short reply, and returns the reply."""
        self.send(conn, *args)
        return conn.recv(4096)

    def close(self, conn):
        self.open.remove(conn)
        conn.close()

    def run(self, make, undo=None):
        """Makes the trouble until Ctrl-C or SIGTERM, and cleans up."""
        try:
            make()
        except KeyboardInterrupt:
            pass
        finally:
            if undo:
                undo()
            for conn in self.open:
                conn.close()
            if self.server:
                self.server.terminate()
                self.server.wait()
                shutil.rmtree(self.dir)

    def ready(self):
        print(f"ready: respool doctor redis://{self.host}:{self.port}", flush=True)
