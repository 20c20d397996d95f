"""Readers who wait on two pods over one Redis, each woken by a write on the other."""

import asyncio
import os
import time

import bench_apart
from bench_common import *

WAITERS = int(os.environ.get("WAITERS", "5000"))
WOKEN = int(os.environ.get("WOKEN", "200"))
EVERY = float(os.environ.get("WAKE_EVERY_MS", "25")) / 1000
GOALS_MS = (10, 50)
# `wait=8`, the longest.
WAIT = 8
SMALL = b'{"data":{"n":1}}'


async def until_found(caller, key, handoff):
    """Waits, and again when the wait has run out, until the handoff is there: the moment."""
    while True:
        answer = await caller.send(get(handoff, key, f"&wait={WAIT}"))
        if answer.status == 200:
            return answer.at
        if answer.status != 404:
            raise Void(f"a waiter was answered {answer.status} {answer.body!r}")


def crowd(addresses, key, count, tell):
    """In a process of its own: so many on each pod who wait for what is never written."""
    files_as_many_as_allowed()

    async def one(address, delay):
        await asyncio.sleep(delay)
        await until_found(Caller(address), key, some_handoff())

    async def all_of_them():
        # Spread over one wait, so that they do not all come back at once.
        waiting = [asyncio.ensure_future(one(address, n * WAIT / count))
                   for n in range(count) for address in addresses]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
        for each in waiting:
            if each.done() and each.exception():
                raise each.exception()
    try:
        asyncio.run(all_of_them())
    except Exception as error:
        tell.send(repr(error))


class Watch:
    """Those whose waking is measured: some on each pod, always as many."""

    def __init__(self, pods, key, count):
        self.pods, self.key, self.count = pods, key, count
        self.waiting = []

    async def begin(self):
        for n in range(self.count):
            pod = n % 2
            self.add(pod, Caller(self.pods[pod].address))
            await asyncio.sleep(WAIT / self.count)

    def add(self, pod, caller):
        handoff = some_handoff()
        found = asyncio.ensure_future(until_found(caller, self.key, handoff))
        self.waiting.append((pod, caller, handoff, found))

    async def wake(self, writers):
        """Writes the oldest one's handoff through the other pod; (from the sending, from the 2xx)."""
        pod, caller, handoff, found = self.waiting.pop(0)
        sent = time.perf_counter()
        written = await writers[1 - pod].send(put(handoff, SMALL))
        if written.status != 201:
            raise Void(f"not written: {written.status} {written.body!r}")
        moment = await asyncio.wait_for(found, 12)
        self.add(pod, caller)
        return moment - sent, max(0.0, moment - written.at)


async def measure(pods, key):
    watch = Watch(pods, key, min(WOKEN, 2 * WAITERS))
    await watch.begin()
    least = WAITERS * 0.98
    for _ in range(100):
        waiting = [metric(pod.address, "baton_reads_waiting") for pod in pods]
        if min(waiting) >= least:
            break
        await asyncio.sleep(0.2)
    else:
        raise Void(f"only {waiting} wait")
    writers = [Caller(pod.address) for pod in pods]
    rounds = []
    for _ in range(ROUNDS):
        took = []
        for _ in range(WOKEN):
            took.append(await watch.wake(writers))
            await asyncio.sleep(EVERY)
        rounds.append(took)
        waiting += [metric(pod.address, "baton_reads_waiting") for pod in pods]
    if min(waiting) < least:
        raise Void(f"others did not go on waiting: {waiting}")
    return rounds, min(waiting)


def wake(binary):
    files_as_many_as_allowed()
    with stage() as (folder, started):
        store = redis(folder / "redis", started)
        many = {"MAX_WAITING": 2 * WAITERS + 100, "MAX_CONNECTIONS": 2 * WAITERS + 1000, "LOG": "warn"}
        pods = [started(Baton(binary, store.url, **many)) for _ in range(2)]
        key = pods[0].key()
        apart = started(bench_apart.Apart(
            crowd, [pod.address for pod in pods], key, WAITERS - min(WOKEN // 2, WAITERS)))
        rounds, least = asyncio.run(measure(pods, key))
        apart.check()
        tell(rounds, least)


def tell(rounds, least):
    def of(which):
        both = [[median([at([took[which] for took in times], p) for times in rounds]) for p in (50, 99)]]
        return both[0], max(took[which] for times in rounds for took in times)
    (sent_50, sent_99), sent_worst = of(0)
    (acked_50, acked_99), acked_worst = of(1)
    before = sum(took[1] == 0 for times in rounds for took in times)
    count = sum(map(len, rounds))
    print(f"wake-up across pods, {least:.0f} or more waiting on each of two, {count} of them woken one by one by a "
          f"write on the other pod: from the write's 2xx to the waiter's answer p50 {ms(acked_50)}, p99 {ms(acked_99)} "
          f"(goal {GOALS_MS[0]} ms, {GOALS_MS[1]} ms), worst {ms(acked_worst)}; {before} had it before the 2xx")
    print(f"  from the write's sending: p50 {ms(sent_50)}, p99 {ms(sent_99)}, worst {ms(sent_worst)}")
    goal(acked_50 * 1000 < GOALS_MS[0] and acked_99 * 1000 < GOALS_MS[1], "wake-up across pods")
