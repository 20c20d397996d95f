"""As much of the Redis protocol as the tests need: one command, one reply."""

import socket


class ReplyError(Exception):
    """What Redis answered with a minus sign."""


class Connection:
    """One connection; not shared between threads."""

    def __init__(self, host, port, timeout=2.0, password=None, tls=None):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.reader = self.socket.makefile("rb")
        if password is not None:
            self.call("AUTH", password)

    def call(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(parts))
        return self._reply()

    def close(self):
        self.reader.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _reply(self):
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server hung up")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]
        raise ConnectionError(f"not the protocol: {line!r}")

    def _bulk(self, length):
        if length < 0:
            return None
        data = self.reader.read(length + 2)
        if len(data) < length + 2:
            raise ConnectionError("the server hung up")
        return data[:-2].decode(errors="replace")
