"""One Baton on one store, in a place of its own, and a client that keeps its connection."""

import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess

from node import Unhealthy, end_with_parent, until

ADMIN = secrets.token_hex(24)
SEAL = base64.b64encode(secrets.token_bytes(32)).decode()


class Answer:
    """Status, headers (names in small letters) and body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def is_stale(self):
        return "warning" in self.headers


class Client:
    """One keep-alive connection; opened when it is first needed and after it broke. For one thread."""

    def __init__(self, pod, timeout=15.0):
        self.pod, self.timeout = pod, timeout
        self.socket = self.reader = None

    def put(self, sid, data):
        return self.ask("PUT", f"/v1/handoff_state?id={sid}", json.dumps({"data": data}).encode())

    def get(self, sid):
        return self.ask("GET", f"/v1/handoff_state?id={sid}")

    def ask(self, method, path, body=b""):
        try:
            if self.socket is None:
                self._open()
            head = (f"{method} {path} HTTP/1.1\r\nhost: baton\r\nx-api-key: {ADMIN}\r\n"
                    f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n")
            self.socket.sendall(head.encode() + body)
            return self._answer()
        except (OSError, ValueError):
            self.close()
            raise

    def close(self):
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.reader.close()
                self.socket.close()
        self.socket = self.reader = None

    def _open(self):
        with self.pod.place.inside():
            self.socket = socket.create_connection(("127.0.0.1", self.pod.place.port), self.timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def _answer(self):
        line = self.reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("Baton hung up")
        headers = {}
        while (header := self.reader.readline().strip()):
            name, value = header.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        body = self.reader.read(length)
        if len(body) < length:
            raise ConnectionError("Baton hung up")
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(int(line.split()[1]), headers, body)


class Pod:
    """One `baton serve`."""

    def __init__(self, binary, name, place, folder, settings):
        self.binary, self.name, self.place = binary, name, place
        self.log = os.path.join(folder, f"{name}.log")
        self.process = None
        own = {
            "BATON_LISTEN": f"127.0.0.1:{place.port}",
            "BATON_WORKERS": "1",
            "BATON_LOG": os.environ.get("FAULTS_LOG", "warn"),
            "BATON_RATE_REQUESTS": "0",
            "BATON_RATE_MISSES": "0",
            "BATON_DRAIN_SECONDS": "0",
            "BATON_ADMIN_KEY": ADMIN,
            "BATON_SEAL_KEYS": SEAL,
            **settings,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
        self.environment = {**kept, **own}

    def start(self):
        with open(self.log, "ab") as log, self.place.inside():
            self.process = subprocess.Popen([self.binary, "serve"], env=self.environment, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True, preexec_fn=end_with_parent)
        client = Client(self, timeout=3.0)
        try:
            until(f"{self.name} is ready", lambda: self._is_ready(client), patience=30)
        except Unhealthy as error:
            raise Unhealthy(f"{error}\n{self.tail()}") from None
        finally:
            client.close()
        return self

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self, lines=15):
        with contextlib.suppress(OSError), open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])
        return ""

    def _is_ready(self, client):
        if self.process.poll() is not None:
            raise Unhealthy(f"{self.name} ended with {self.process.returncode}\n{self.tail()}")
        return client.ask("GET", "/readyz").status == 200
