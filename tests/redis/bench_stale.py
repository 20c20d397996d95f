"""L1 first on two pods: each read races writes on the other pod, and is held against what was acknowledged by then."""

import asyncio
import bisect
import os
import random
import time

import bench_apart
import topology
from bench_common import *

READS = int(os.environ.get("STALE_READS", "200000"))
TTL = int(os.environ.get("STALE_TTL_MS", "1000"))
CUTS = int(os.environ.get("STALE_CUTS", "5"))
BOUND = min(TTL, 800) / 1000
# A read races a write that is under way or was acknowledged so lately.
RACE = 0.05
KEYS, READERS = 16, 2
PAUSE = 0.03


class History:
    """The revisions of one handoff that were acknowledged, and when; one writer, so they rise."""

    def __init__(self):
        self.handoff, self.revisions, self.acked, self.writing = some_handoff(), [], [], False

    def wrote(self, revision, moment):
        self.revisions.append(revision)
        self.acked.append(moment)

    def is_racing(self, moment):
        return self.writing or (bool(self.acked) and moment - self.acked[-1] < RACE)

    def behind(self, revision, sent):
        """How long before `sent` a newer revision than the one read had been acknowledged; 0 when none had."""
        newer = bisect.bisect_right(self.revisions, revision)
        if newer == len(self.revisions) or self.acked[newer] > sent:
            return 0.0
        return sent - self.acked[newer]


class Tally:
    def __init__(self):
        self.reads = self.raced = self.behind = self.beyond = self.marked = self.failed = self.unwritten = 0
        self.longest = self.longest_marked = 0.0

    def add(self, history, sent, raced, answer):
        self.reads += 1
        self.raced += raced
        if answer is None or answer.status != 200:
            self.failed += 1
            return
        behind = history.behind(answer.revision, sent)
        if answer.header(b"warning"):
            self.marked += 1
            self.longest_marked = max(self.longest_marked, behind)
            return
        self.behind += behind > 0
        self.beyond += behind > BOUND
        self.longest = max(self.longest, behind)


async def send(caller, request):
    """The answer, or None: those who were hung up on are counted as refused."""
    try:
        return await caller.send(request)
    except OSError:
        return None


async def write(caller, history, tally, stop):
    while not stop.is_set():
        history.writing = True
        answer = await send(caller, put(history.handoff, another()))
        history.writing = False
        if answer is not None and answer.status in (200, 201):
            history.wrote(answer.revision, answer.at)
        else:
            # It may have been written: then a read may be ahead of what was acknowledged, never behind.
            tally.unwritten += 1
        await asyncio.sleep(random.uniform(0, PAUSE))


async def read(caller, history, tally, key, stop):
    request = get(history.handoff, key)
    while not stop.is_set():
        if not history.revisions:
            await asyncio.sleep(0.001)
            continue
        raced, sent = history.is_racing(time.perf_counter()), time.perf_counter()
        tally.add(history, sent, raced or history.writing, await send(caller, request))


async def race(routes, key, goes_on):
    """Keys written on one address and read on another, for as long as goes_on(tally) has something to do."""
    tally, stop, tasks = Tally(), asyncio.Event(), []
    for n in range(KEYS):
        there, here = routes[n % len(routes)]
        history = History()
        tasks.append(write(Caller(there), history, tally, stop))
        tasks += [read(Caller(here), history, tally, key, stop) for _ in range(READERS)]
    tasks = [asyncio.ensure_future(task) for task in tasks]
    await goes_on(tally)
    stop.set()
    await asyncio.gather(*tasks)
    return tally


async def until_enough(tally):
    begun = time.monotonic()
    while tally.raced < READS:
        await asyncio.sleep(0.05)
        if time.monotonic() > begun + 60 and tally.raced < READS * (time.monotonic() - begun) / 3600:
            raise Void(f"too slow: {tally.raced} reads")


def cut(apart):
    """The reading pod's way to Redis holds everything back, again and again; the writing pod's does not."""
    async def goes_on(_):
        await asyncio.sleep(1)
        for _ in range(CUTS):
            apart.pipe.send("hold")
            await asyncio.sleep(BOUND + 1)
            apart.pipe.send("release")
            await asyncio.sleep(2)
    return goes_on


def memory_answered(pods):
    """How many record look-ups memory answered, and how many there were."""
    def count(outcome):
        return sum(metric(pod.address, f'baton_record_lookups_total{{outcome="{outcome}",record="handoff"}}')
                   for pod in pods)
    hits = count("hit")
    return hits, hits + count("miss")


def stale(binary):
    with stage() as (folder, started):
        store = redis(folder / "redis", started)
        settings = {"L1_TTL_MS": TTL, "LOG": "warn"}
        pods = [started(Baton(binary, store.url, **settings)) for _ in range(2)]
        key = pods[0].key()
        one, two = (pod.address for pod in pods)
        tally = asyncio.run(race([(one, two), (two, one)], key, until_enough))
        tell(tally, *memory_answered(pods))
        if not CUTS:
            return
        port = topology.loopback("relay", 0).port
        apart = started(bench_apart.Apart(bench_apart.relay, port, str(store.primary.place)))
        cut_off = started(Baton(binary, f"redis://127.0.0.1:{port}", **settings))
        tell_cut(asyncio.run(race([(one, cut_off.address)], key, cut(apart))))
        apart.check()


def tell(tally, hits, look_ups):
    print(f"staleness, L1 first for {TTL} ms on two pods: {tally.reads} reads ({tally.raced} raced a write on the "
          f"other pod), {tally.behind} behind, longest {ms(tally.longest)}; beyond the bound of {BOUND * 1000:.0f} ms: "
          f"{tally.beyond} (goal 0); memory answered {percent(hits, look_ups)}")
    if tally.failed or tally.unwritten or tally.marked:
        print(f"  reads not answered: {tally.failed}, marked stale: {tally.marked}; writes not acknowledged: "
              f"{tally.unwritten}")
    if not hits:
        raise Void("memory answered nothing")
    goal(tally.beyond == 0, "staleness")


def tell_cut(tally):
    print(f"staleness while the reading pod's way to Redis fell silent {CUTS} times, {BOUND + 1:.1f} s each: "
          f"{tally.reads} reads, {tally.behind} behind and not marked, longest {ms(tally.longest)}; beyond the bound "
          f"of {BOUND * 1000:.0f} ms: {tally.beyond} (goal 0); {tally.marked} marked stale, {tally.failed} refused")
    if not tally.behind:
        raise Void("the silence was not noticed by any read")
    goal(tally.beyond == 0, "staleness in silence")
