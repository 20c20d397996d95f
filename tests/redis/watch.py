"""When a primary had enough replicas, and how long nothing was acknowledged although it had."""

import binascii
import collections
import contextlib
import threading
import time

import resp
import topology
from node import Unhealthy

# INFO counts whole seconds since a replica was last heard of; each speaks once a second.
IN_STEP = 2


class Watch(threading.Thread):
    """Asks again and again, on the side that goes on, who is primary and how many replicas it has there."""

    def __init__(self, named, need, apart):
        super().__init__(daemon=True)
        self.named, self.need, self.apart = named, need, apart
        self.over = threading.Event()
        self.samples = []

    def run(self):
        while not self.over.wait(0.05):
            at = time.monotonic()
            enough = False
            with contextlib.suppress(OSError, resp.ReplyError, Unhealthy, KeyError, StopIteration):
                enough = self._enough(self.named())
            self.samples.append((at, enough))

    def stop(self):
        self.over.set()
        self.join()

    def _enough(self, primary):
        if primary.name in self.apart():
            return False
        info = primary.info("replication")
        if info["role"] != "master":
            return False
        gone = {node.place.host for node in primary.company if node.name in self.apart()}
        attached = 0
        for name, line in info.items():
            if name.startswith("slave") and name[5:].isdigit():
                replica = dict(part.split("=") for part in line.split(","))
                attached += (replica["state"] == "online" and int(replica["lag"]) <= IN_STEP
                             and replica["ip"] not in gone)
        return attached >= self.need

    def stretches(self, since, until):
        """From when to when there was enough of everything."""
        found, begun = [], None
        for at, enough in [(at, e) for at, e in self.samples if since <= at <= until] + [(until, False)]:
            if enough and begun is None:
                begun = at
            elif not enough and begun is not None:
                found.append((begun, at))
                begun = None
        return found


def longest_gap(stretches, acknowledged):
    """The longest time without an acknowledged write within any of these stretches, and when it began."""
    worst = (0.0, None)
    for begun, ended in stretches:
        points = [begun, *(at for at in acknowledged if begun < at < ended), ended]
        for before, after in zip(points, points[1:]):
            worst = max(worst, (after - before, before), key=lambda each: each[0])
    return worst


def busiest(cluster):
    """The shard that was sent most: the one with the lists that every write touches, if there is one."""
    def calls(shard):
        stats = shard[0].info("commandstats")
        wanted = [value for name, value in stats.items() if name in ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall")]
        return sum(int(value.split(",")[0].split("=")[1]) for value in wanted)
    return max(cluster.shards, key=calls)


def slot_by_id(cluster, known):
    """A function that gives the slot of a handoff's record by its id, learnt from the keys of a known one."""
    tags = collections.Counter()
    for shard in cluster.shards:
        with shard[0].connect() as connection:
            cursor = "0"
            while True:
                cursor, names = connection.call("SCAN", cursor, "MATCH", f"*{known}*", "COUNT", 1000)
                tags.update(name[name.index("{") + 1:name.index("}")] for name in names if "{" in name)
                if cursor == "0":
                    break
    if not tags:
        return lambda _: None
    template = tags.most_common(1)[0][0]
    return lambda sid: binascii.crc_hqx(template.replace(known, sid).encode(), 0) % topology.SLOTS
