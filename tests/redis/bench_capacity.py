"""What one pod and one shard carry, what a handoff takes of Redis, and how many of each so many calls need."""

import asyncio
import math
import os

from bench_common import *

HANDOFFS = int(os.environ.get("CAPACITY_HANDOFFS", "20000"))
# What a call is taken to be: five minutes, three writes of 2 kB, five reads.
CALL_SECONDS, CALL_WRITES, CALL_READS = 300, 3, 5
# Pods and shards are reckoned at half of what they carry: the rest is for peaks and for those that fail.
LOAD = 0.5
SHARD_BYTES = 25e9
LIVES = {"24 h": 24 * 3600, "1 h": 3600}
PUT, GET = BENCHES / "put.lua", BENCHES / "get.lua"


class Place:
    """A pod and the Redis that it writes to, without or with a replica that must have each write."""

    def __init__(self, binary, folder, started, replicas):
        self.redis = redis(folder / f"redis{replicas}", started, replicas)
        self.pod = started(Baton(binary, self.redis.url, REDIS_REPLICAS=replicas, LOG="warn"))

    def cpu(self):
        """Of the pod, of the primary, of its replica."""
        replica = sum(cpu_seconds(node.process.pid) for node in self.redis.slaves)
        return self.pod.cpu, cpu_seconds(self.redis.primary.process.pid), replica

    def load(self, script, key, arguments=()):
        """One round: what was done in a second, and what each took of a core for one request."""
        before = self.cpu()
        done, seconds = wrk(self.pod.address, "", [f"x-api-key: {key}"], script, arguments, core=None)
        took = [after - was for after, was in zip(self.cpu(), before)]
        if not took[1]:
            raise Void("Redis had nothing to do")
        return done / seconds, [each / done for each in took], [each / seconds for each in took]

    def memory(self):
        return int(self.redis.primary.info("memory")["used_memory"])


def bytes_each(place):
    """What Redis takes for a handoff of 2 kB with all that its write leaves there, and how many keys that is."""
    memory, keys = place.memory(), place.redis.primary.call("DBSIZE")
    asyncio.run(fill(place.pod.address, HANDOFFS))
    return (place.memory() - memory) / HANDOFFS, (place.redis.primary.call("DBSIZE") - keys) / HANDOFFS


def middle(rounds):
    """The round of the middle rate."""
    return sorted(rounds)[len(rounds) // 2]


def capacity(binary):
    with stage() as (folder, started):
        alone, doubled = (Place(binary, folder, started, replicas) for replicas in (0, 1))
        each, keys = bytes_each(alone)
        key = alone.pod.key()
        rounds = {"writes": [], "confirmed": [], "reads": []}
        for n in range(ROUNDS + 1):
            # Reads first: what is written here is not what they read.
            this = {"reads": alone.load(GET, key, [HANDOFFS]), "writes": alone.load(PUT, ADMIN),
                    "confirmed": doubled.load(PUT, ADMIN)}
            for name, of in this.items():
                rounds[name] += [of] if n > 0 else []
        figures = {name: middle(of) for name, of in rounds.items()}
        tell(figures, each, keys)
        table(figures, each)


def tell(figures, each, keys):
    names = {"writes": "writes, no replica", "confirmed": "writes that one replica confirms",
             "reads": f"reads by key of {HANDOFFS} handoffs, L1 not answering"}
    for name, said in names.items():
        rate, (pod, primary, _), cores = figures[name]
        replica = f", its replica {100 * cores[2]:.0f} %" if cores[2] else ""
        print(f"capacity, one pod on {len(CORES)} core(s) beside Redis and 64 clients: {rate:.0f} {said}, 2 kB, a "
              f"second; of one core the pod took {100 * cores[0]:.0f} %, Redis {100 * cores[1]:.0f} %{replica}; for a "
              f"whole core that is {1 / pod:.0f} by the pod, {1 / primary:.0f} by Redis")
    print(f"memory: {each:.0f} bytes of Redis a handoff of 2 kB, in {keys:.1f} keys")


def table(figures, each):
    write, read = figures["confirmed"][1], figures["reads"][1]
    print(f"pods of one core and shards (one Redis core, up to {SHARD_BYTES / 1e9:.0f} GB) at {100 * LOAD:.0f} % load, "
          f"one replica a shard; a call taken to last {CALL_SECONDS // 60} minutes with {CALL_WRITES} writes and "
          f"{CALL_READS} reads; at least two pods, so that one may fail:")
    heads = ["calls at once", "writes/s", "reads/s", "pods", "shards by load"]
    heads += [f"{what}, kept {life}" for life in LIVES for what in ("memory", "shards")]
    rows = []
    for calls in (1_000, 100_000, 10_000_000):
        begun = calls / CALL_SECONDS
        writes, reads = begun * CALL_WRITES, begun * CALL_READS
        pods = max(2, math.ceil((writes * write[0] + reads * read[0]) / LOAD))
        shards = max(1, math.ceil((writes * write[1] + reads * read[1]) / LOAD))
        row = [f"{calls:,}", f"{writes:,.0f}", f"{reads:,.0f}", f"{pods:,}", f"{shards:,}"]
        for seconds in LIVES.values():
            # Kept for so long after the last write, beside those of calls under way.
            size = begun * (seconds + CALL_SECONDS) * each
            row += [f"{size / 1e9:,.1f} GB", f"{max(shards, math.ceil(size / SHARD_BYTES)):,}"]
        rows.append(row)
    widths = [max(len(row[n]) for row in [heads, *rows]) for n in range(len(heads))]
    for row in [heads, *rows]:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths)))
