"""A network of this programme's own that can be cut in two.

Every place is a network namespace with one cable to the bridge `whole`. Who is cut off is plugged into the
bridge `apart` instead: both sides go on among themselves, nothing passes between them, no connection is
told of it. The programme runs in namespaces of network, mounts and processes: all ends with it.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading

from node import Missing, Place, end_with_parent, require

NET = "10.99.0"
MARK = "BATON_FAULTS_APART"
CLONE_NEWNET = 0x40000000
NAMESPACES = "/run/netns"
libc = ctypes.CDLL(None, use_errno=True)


def enter():
    """Runs this programme again in namespaces of its own, and exits as it does; there, returns its folder."""
    folder = os.environ.pop(MARK, None)
    if folder is None:
        for programme, package in (("unshare", "util-linux"), ("ip", "iproute2"), ("redis-server", "redis-server")):
            require(programme, package)
        if os.geteuid() != 0:
            raise Missing("network namespaces need root")
        sys.exit(_again())
    os.makedirs(NAMESPACES, exist_ok=True)
    _run("mount", "-t", "tmpfs", "tmpfs", NAMESPACES)
    _run("ip", "link", "set", "lo", "up")
    return folder


def _again():
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, *sys.argv]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="baton-faults-") as folder:
        child = subprocess.Popen(words, env={**os.environ, MARK: folder}, preexec_fn=end_with_parent)
        try:
            return child.wait()
        finally:
            # It takes no other signal, and all that runs in there goes with it.
            child.kill()
            child.wait()


def _run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def _enter(path):
    with open(path) as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")


class Network:
    """Namespaces by name; `with` takes them all away again."""

    def __init__(self):
        self.hosts = {}
        self.apart = set()
        self.lock = threading.Lock()

    def __enter__(self):
        for bridge in ("whole", "apart"):
            _run("ip", "link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0")
            _run("ip", "link", "set", bridge, "up")
        return self

    def __exit__(self, *_):
        for name in self.hosts:
            # A namespace goes some time after its name; its cable must be gone for the next of that name.
            _run("ip", "link", "del", name)
            _run("ip", "netns", "del", name)
        for bridge in ("whole", "apart"):
            _run("ip", "link", "del", bridge)

    def place(self, name, port):
        """The place of that name, made when it is new; its address, with that port. Fits Topology's `places`."""
        if name not in self.hosts:
            self._add(name)
        return Place(self.hosts[name], port, lambda: self.inside(name))

    @contextlib.contextmanager
    def inside(self, name):
        """Sockets opened and processes started by this thread stand there."""
        here = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        with open(here) as home:
            _enter(f"{NAMESPACES}/{name}")
            try:
                yield
            finally:
                if libc.setns(home.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")

    def cut(self, names):
        """Cuts those off from all the others."""
        with self.lock:
            for name in names:
                _run("ip", "link", "set", name, "master", "apart")
            self.apart.update(names)

    def heal(self):
        with self.lock:
            for name in self.apart:
                _run("ip", "link", "set", name, "master", "whole")
            self.apart.clear()

    def _add(self, name):
        address = f"{NET}.{len(self.hosts) + 1}"
        self.hosts[name] = address
        at = ["ip", "-n", name]
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", "cable", "netns", name)
        _run("ip", "link", "set", name, "master", "whole", "up")
        _run(*at, "link", "set", "lo", "up")
        _run(*at, "addr", "add", f"{address}/24", "dev", "cable")
        _run(*at, "link", "set", "cable", "up")
