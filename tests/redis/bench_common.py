"""What the benches share: processes that end with them, a client for asyncio, and figures."""

import asyncio
import base64
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import random
import resource
import secrets
import signal
import subprocess
import tempfile
import time

import topology

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("SECONDS_PER_ROUND", "4"))
GOALS = os.environ.get("GOALS") == "1"
BENCHES = pathlib.Path(os.environ.get("BENCHES", pathlib.Path(__file__).resolve().parent.parent / "benches"))
# Server on one core, client and Redis on the other, where there are two.
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]
TICKS = os.sysconf("SC_CLK_TCK")
SID = "CA0123456789abcdef0123456789abcdef"
ADMIN = secrets.token_hex(24)
SEAL = base64.b64encode(secrets.token_bytes(32)).decode()
# As tests/bench writes it: 2 kB in all, as the answer to a plain read.
BODY = json.dumps({"data": {"pad": "x" * 1980}}, separators=(",", ":")).encode()


class Void(Exception):
    """A run that measured something else than it should."""


missed = []


def goal(met, what):
    """Remembers a goal that was missed."""
    if not met:
        missed.append(what)
    return met


def median(values):
    return sorted(values)[len(values) // 2]


def at(times, percent):
    """The time that `percent` of all took at most."""
    times = sorted(times)
    return times[min(len(times) * percent // 100, len(times) - 1)]


def ms(seconds):
    return f"{seconds * 1000:.1f} ms"


def percent(part, whole):
    return f"{100 * part / whole:.0f} %" if whole else "-"


def path(handoff, more=""):
    return f"/v1/handoff_state?id={handoff}{more}"


def cpu_seconds(pid):
    """What a process has taken of the cores since it began."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pin(pid, core):
    """All threads of a process onto one core."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {core})


class Others:
    """What everything else on this machine takes of its cores meanwhile; what we started counts once it has ended."""

    def __init__(self):
        self.begun, self.busy, self.own = time.monotonic(), self.all_of_it(), sum(os.times()[:4])

    @staticmethod
    def all_of_it():
        user, nice, system, _, _, irq, softirq = map(int, pathlib.Path("/proc/stat").read_text().split()[1:8])
        return (user + nice + system + irq + softirq) / TICKS

    def took(self):
        """Of one core."""
        others = self.all_of_it() - self.busy - (sum(os.times()[:4]) - self.own)
        return max(0.0, others) / (time.monotonic() - self.begun)


def files_as_many_as_allowed():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def ask(address, method, target, key=ADMIN, body=None, timeout=20):
    """One request on a connection of its own: (status, headers, body)."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, target, body, {"x-api-key": key})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def metric(address, name):
    """A metric's value; `name` with its labels, in any order, or without: then the sum of all."""
    wanted, _, labels = name.partition("{")
    labels = set(labels.rstrip("}").split(",")) - {""}
    total, seen = 0.0, False
    for line in ask(address, "GET", "/metrics")[2].decode().splitlines():
        series, _, value = line.rpartition(" ")
        head, _, own = series.partition("{")
        if head == wanted and labels <= set(own.rstrip("}").split(",")):
            total, seen = total + float(value), True
    if not seen:
        raise Void(f"no metric {name}")
    return total


class Baton:
    """A `baton serve`; started at once, ready on return. Stopped and begun again, it keeps its address."""

    # BENCH_LOG=file: what the servers say, for whoever looks for a fault.
    log = open(os.environ["BENCH_LOG"], "ab") if os.environ.get("BENCH_LOG") else None

    def __init__(self, binary, store, folder=None, core=None, ready=True, **settings):
        self.binary, self.core, self.folder = binary, core, folder
        self.port = topology.loopback("baton", 0).port
        self.address = f"127.0.0.1:{self.port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
        environment |= {
            "BATON_LISTEN": self.address, "BATON_STORE": store, "BATON_ADMIN_KEY": ADMIN, "BATON_SEAL_KEYS": SEAL,
            "BATON_RATE_REQUESTS": "0", "BATON_RATE_MISSES": "0", "BATON_DRAIN_SECONDS": "0",
            "BATON_REDIS_PREFIX": "bench",
        }
        if folder:
            environment["BATON_DATA_DIR"] = str(folder)
        environment |= {f"BATON_{name}": str(value) for name, value in settings.items()}
        self.environment = environment
        self.begin()
        if ready:
            self.await_ready()

    def begin(self):
        words = ["taskset", "-c", str(self.core)] if self.core is not None else []
        # The log is read by a process of its own, as a container's is.
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                  start_new_session=True, preexec_fn=topology.end_with_parent)
        self.process = subprocess.Popen(
            [*words, self.binary, "serve"], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.log or reader.stdin, start_new_session=True,
            preexec_fn=topology.end_with_parent)
        reader.stdin.close()
        self.reader, self.began = reader, time.monotonic()

    def is_ready(self):
        try:
            return ask(self.address, "GET", "/readyz", timeout=1)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def await_ready(self):
        while not self.is_ready():
            if self.process.poll() is not None:
                raise Void(f"baton ended with {self.process.returncode}; BENCH_LOG=file shows why")
            if time.monotonic() > self.began + 30:
                raise Void("baton is never ready")
            time.sleep(0.02)

    @property
    def pid(self):
        return self.process.pid

    @property
    def cpu(self):
        return cpu_seconds(self.pid)

    def key(self, scopes=("handoff:read",)):
        """A key as a Function has one; the admin key is not looked up."""
        status, _, body = ask(self.address, "POST", "/v1/keys", body=json.dumps({"scopes": scopes}))
        if status != 201:
            raise Void(f"no key: {status} {body!r}")
        return json.loads(body)["key"]

    def put(self, handoff, body=BODY):
        status, _, answer = ask(self.address, "PUT", path(handoff), body=body)
        if status not in (200, 201):
            raise Void(f"not written: {status} {answer!r}")
        return json.loads(answer)["revision"]

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        if self.process.poll() is None:
            self.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.reader.wait()


@contextlib.contextmanager
def stage():
    """A folder, and what is started in it: all ends with the block."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder, contextlib.ExitStack() as stack:
        def started(thing):
            stack.callback(thing.stop)
            return thing
        yield pathlib.Path(folder), started


def redis(folder, started, replicas=0, **more):
    """One Redis, with replicas."""
    folder.mkdir(parents=True, exist_ok=True)
    servers = topology.Standalone(str(folder), replicas, **more)
    started(servers)
    return servers.start()


class Answer:
    __slots__ = ("status", "head", "body", "at")

    def header(self, name):
        """The header's value, or None; `name` in small letters."""
        begin = self.head.lower().find(b"\r\n" + name + b":")
        if begin < 0:
            return None
        begin += len(name) + 3
        end = self.head.find(b"\r\n", begin)
        return self.head[begin:end if end >= 0 else None].strip()

    @property
    def revision(self):
        return int(self.header(b"x-handoff-revision") or 0)

    @property
    def is_last(self):
        """Whether the server will close."""
        return (self.header(b"connection") or b"").lower() == b"close"


class Line(asyncio.Protocol):
    """One keep-alive connection: a request, then its answer."""

    def __init__(self):
        self.buffer, self.told, self.transport, self.need = b"", None, None, 0
        self.gone = False

    @classmethod
    async def open(cls, address):
        host, _, port = address.rpartition(":")
        return (await asyncio.get_running_loop().create_connection(cls, host, int(port)))[1]

    def connection_made(self, transport):
        self.transport = transport

    def send(self, request):
        """A future of the answer."""
        if self.gone:
            raise ConnectionResetError("closed unannounced")
        self.told = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.told

    def data_received(self, data):
        self.buffer += data
        while self.told is not None and len(self.buffer) >= self.need:
            head, mark, rest = self.buffer.partition(b"\r\n\r\n")
            if not mark:
                return
            answer = Answer()
            answer.head, answer.at = head, time.perf_counter()
            length = int(answer.header(b"content-length") or 0)
            if len(rest) < length:
                self.need = len(head) + 4 + length
                return
            answer.status, answer.body = int(head[9:12]), rest[:length]
            self.buffer, self.need = rest[length:], 0
            told, self.told = self.told, None
            if not told.done():
                told.set_result(answer)

    def connection_lost(self, _):
        self.gone = True
        if self.told is not None and not self.told.done():
            self.told.set_exception(ConnectionResetError("closed without an answer"))

    def close(self):
        if self.transport is not None:
            self.transport.close()


class Caller:
    """A client that keeps its connection for as long as the server does, and then makes another."""

    def __init__(self, address):
        self.address, self.line = address, None

    async def send(self, request, patience=None):
        line, self.line = self.line, None
        # One that was closed while nothing was asked is known to be.
        if line is None or line.gone:
            line = await Line.open(self.address)
        try:
            answer = await (asyncio.wait_for(line.send(request), patience) if patience else line.send(request))
        except (OSError, TimeoutError):
            line.close()
            raise
        if answer.is_last:
            line.close()
        else:
            self.line = line
        return answer

    def close(self):
        if self.line is not None:
            self.line.close()


def get(handoff, key=ADMIN, more=""):
    return f"GET {path(handoff, more)} HTTP/1.1\r\nHost: b\r\nx-api-key: {key}\r\n\r\n".encode()


def put(handoff, body=BODY, key=ADMIN):
    head = f"PUT {path(handoff)} HTTP/1.1\r\nHost: b\r\nx-api-key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def another():
    """A body of 2 kB unlike those before: the same again would be no new revision."""
    return b'{"data":{"n":%d,"pad":"%s"}}' % (next(numbers), b"x" * 1970)


numbers = itertools.count()


async def fill(address, count, writers=64):
    """Writes so many handoffs of 2 kB, CA00…01 and on, by several writers at once."""
    left = iter(range(1, count + 1))

    async def write():
        caller = Caller(address)
        for n in left:
            answer = await caller.send(put(f"CA{n:032x}"))
            if answer.status not in (200, 201):
                raise Void(f"not written: {answer.status} {answer.body!r}")
        caller.close()
    await asyncio.gather(*(write() for _ in range(writers)))


def wrk(address, target, headers=(), script=None, arguments=(), connections=64, core=CLIENT_CORE):
    """(requests, seconds) of one round."""
    words = ["taskset", "-c", str(core)] if core is not None else []
    words += ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s"]
    for header in headers:
        words += ["-H", header]
    if script:
        if not script.exists():
            raise Void(f"no {script}")
        words += ["-s", str(script)]
    words += [f"http://{address}{target}", "--", *map(str, arguments)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise Void(f"bad answers\n{said}")
    line = next(line for line in said.splitlines() if "requests in" in line).split()
    return int(line[0]), float(line[3].rstrip(",s"))


def some_handoff():
    return f"CA{random.getrandbits(128):032x}"
