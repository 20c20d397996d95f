"""One handoff of 2 kB, read by key: through Redis, from memory first, embedded; beside webdis on the same Redis."""

import json
import subprocess
import time

import topology
from bench_common import *

GOAL = 100


class Webdis:
    """Debian's webdis in front of a Redis: no key, no seal, no log."""

    def __init__(self, folder, node, core):
        topology.require("webdis", "webdis")
        self.port = topology.loopback("webdis", 0).port
        self.address = f"127.0.0.1:{self.port}"
        settings = {
            "redis_host": node.place.host, "redis_port": node.place.port, "redis_auth": None,
            "http_host": "127.0.0.1", "http_port": self.port, "threads": 1, "pool_size": 8,
            "daemonize": False, "websockets": False, "database": 0, "verbosity": 0, "logfile": "/dev/null",
        }
        file = folder / "webdis.json"
        file.write_text(json.dumps(settings))
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), "webdis", str(file)], cwd=folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=topology.end_with_parent)
        topology.until("webdis answers", lambda: ask(self.address, "GET", "/PING")[0] == 200)

    @property
    def cpu(self):
        return cpu_seconds(self.process.pid)

    def stop(self):
        self.process.kill()
        self.process.wait()


def per_cpu_second(server, target, headers):
    """Requests per CPU-second of the server, how much of its core it had, and how many they were."""
    before, begun = server.cpu, time.monotonic()
    done, _ = wrk(server.address, target, headers)
    took = server.cpu - before
    return done / took, took / (time.monotonic() - begun), done


def read(binary):
    with stage() as (folder, started):
        store = redis(folder / "redis", started)
        pin(store.primary.process.pid, CLIENT_CORE)
        settings = {"core": SERVER_CORE, "WORKERS": 1}
        # What is read for the first time: nothing of it is in memory.
        through = started(Baton(binary, store.url, L1_MAX_BYTES=0, **settings))
        again = started(Baton(binary, store.url, **settings))
        first = started(Baton(binary, store.url, L1_TTL_MS=1000, **settings))
        embedded = started(Baton(binary, "embedded", folder / "embedded", **settings))
        webdis = started(Webdis(folder, store.primary, SERVER_CORE))
        for server in (through, again, embedded):
            server.put(SID)
        by_key, by_key_there = through.key(), embedded.key()
        _, _, body = ask(through.address, "GET", path(SID), by_key)
        store.primary.call("SET", SID, body)
        # Plain text, as it lies there: webdis's cheapest answer but for the least of all, its own JSON.
        peer = f"/GET/{SID}.txt"
        if ask(webdis.address, "GET", peer)[2] != body:
            raise Void("webdis answers something else")
        what = {
            "through": (through, path(SID), [f"x-api-key: {by_key}"]),
            "webdis": (webdis, peer, []),
            "again": (again, path(SID), [f"x-api-key: {again.key()}"]),
            "first": (first, path(SID), [f"x-api-key: {by_key}"]),
            "embedded": (embedded, path(SID), [f"x-api-key: {by_key_there}"]),
        }
        asked = metric(through.address, "baton_store_reads_total")
        rates, shares, done = {name: [] for name in what}, {name: [] for name in what}, 0
        for n in range(ROUNDS + 1):
            for name, each in what.items():
                rate, share, requests = per_cpu_second(*each)
                done += requests if name == "through" else 0
                if n > 0:
                    rates[name].append(rate)
                    shares[name].append(share)
        trips = metric(through.address, "baton_store_reads_total") - asked
        tell(len(body), {name: median(of) for name, of in rates.items()},
             {name: median(of) for name, of in shares.items()}, trips / done)


def tell(size, rate, share, trips):
    ratio, beside = 100 * rate["through"] / rate["webdis"], 100 * rate["first"] / rate["embedded"]
    print(f"read through Redis, {size} bytes, key, one server core: {rate['through']:.0f} requests per CPU-second "
          f"({trips:.2f} trips to the store a request); webdis on the same Redis, key and body: "
          f"{rate['webdis']:.0f}; ratio {ratio:.0f} % (goal {GOAL} %)")
    print(f"the same read again, of which Redis is asked whether it is still so: {rate['again']:.0f} requests per "
          f"CPU-second; ratio {100 * rate['again'] / rate['webdis']:.0f} %")
    print(f"read with L1 first (1 s): {rate['first']:.0f} requests per CPU-second; embedded: {rate['embedded']:.0f}; "
          f"ratio {beside:.0f} % (goal {GOAL - 5} %, as fast but for the noise)")
    print("  of its core each had: " + ", ".join(f"{name} {100 * of:.0f} %" for name, of in share.items()))
    goal(ratio >= GOAL, "read through Redis")
    goal(beside >= GOAL - 5, "read with L1 first")
