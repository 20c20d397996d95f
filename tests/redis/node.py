"""One real redis-server process, and where it stands.

A node stands at a place: the loopback device with a free port, or (network.py) a network namespace with an
address of its own. What is started here ends when its parent does, whatever ends that.
"""

import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import time

import resp

# Only what a healthy start cannot take, on a machine that compiles meanwhile.
PATIENCE = 60.0


class Missing(Exception):
    """A programme that is not installed."""


class Unhealthy(Exception):
    """What did not come up, and what it said."""


def require(programme, package):
    if shutil.which(programme) is None:
        raise Missing(f"{programme} is missing: apt-get install {package}")


def end_with_parent():
    """Runs in the child: SIGKILL when the thread that started it is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def until(what, check, patience=PATIENCE, every=0.05):
    """Waits until check() is true, and returns what it gave; a server that does not answer yet is no error."""
    end = time.monotonic() + patience
    last = None
    while time.monotonic() < end:
        try:
            result = check()
            if result:
                return result
            last = None
        except (OSError, resp.ReplyError, ConnectionError) as error:
            last = error
        time.sleep(every)
    raise Unhealthy(f"{what}: not within {patience:.0f} s" + (f" ({last})" if last else ""))


class Place:
    """Where a node runs: an address, its port, and how to be there (to start a process, to open a connection)."""

    def __init__(self, host, port, inside=contextlib.nullcontext):
        self.host, self.port, self.inside = host, port, inside

    def __str__(self):
        return f"{self.host}:{self.port}"


def loopback(_name, _port):
    """A free port below those that outgoing connections take."""
    for _ in range(200):
        port = random.randint(20000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in loopback.given:
            loopback.given.add(port)
            return Place("127.0.0.1", port)
    raise Unhealthy("no free port")


loopback.given = set()


class Node:
    """One redis-server process and the folder it keeps its data in."""

    def __init__(self, name, folder, place, settings, password=None, tls=None):
        self.name, self.place, self.password, self.tls = name, place, password, tls
        self.folder = os.path.join(folder, name)
        self.log = os.path.join(folder, f"{name}.log")
        self.process = None
        # All nodes of its arrangement.
        self.company = [self]
        self.sentinel = any(line.startswith("sentinel ") for line in settings)
        os.makedirs(self.folder, exist_ok=True)
        self.file = os.path.join(self.folder, "redis.conf")
        # Sentinel and replicas write their own file anew: it is made once, and survives a restart.
        with open(self.file, "w") as out:
            out.write("\n".join([f"dir {self.folder}", f"logfile {self.log}", *settings]) + "\n")

    def __str__(self):
        return self.name

    def start(self):
        words = ["redis-server", self.file] + (["--sentinel"] if self.sentinel else [])
        with self.place.inside():
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=end_with_parent)
        return self

    def await_answer(self):
        def answers():
            if self.process.poll() is not None:
                raise Unhealthy(f"{self.name} ended with {self.process.returncode}\n{self.tail()}")
            return self.call("PING") == "PONG"
        until(f"{self.name} answers", answers)

    def tail(self):
        with contextlib.suppress(OSError), open(self.log) as log:
            return "".join(log.readlines()[-12:])
        return ""

    def connect(self, timeout=2.0):
        host = "localhost" if self.tls else self.place.host
        with self.place.inside():
            return resp.Connection(host, self.place.port, timeout, self.password, self.tls)

    def call(self, *words, timeout=2.0):
        with self.connect(timeout) as connection:
            return connection.call(*words)

    def info(self, section):
        lines = (line.split(":", 1) for line in self.call("INFO", section).splitlines() if ":" in line)
        return {name: value for name, value in lines}

    def attached(self):
        """The replicas of this node that are in step."""
        info = self.info("replication")
        if info["role"] != "master":
            return 0
        return sum("state=online" in value for name, value in info.items()
                   if name.startswith("slave") and name[5:].isdigit())

    def confirms(self, replicas):
        """Whether so many replicas have all that this node has written."""
        with self.connect() as connection:
            # WAIT asks about what was written before this connection's last command, whatever that was.
            connection.call("PING")
            return connection.call("WAIT", replicas, 1000) >= replicas

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9; the data stays, and start() begins again from it."""
        if self.alive:
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
