"""Writers that remember every answer, and what is found of it later.

Each writer makes handoffs of its own, one write each, and overwrites one of them again and again. A write
that was not acknowledged is open, not failed: it may be stored, at once or later.
"""

import collections
import threading
import time

from node import Unhealthy
from pod import Client

# One write in so many is a read as well, one in so many overwrites the counter.
READ_EVERY = 7
COUNT_EVERY = 3

Event = collections.namedtuple("Event", "began ended kind sid")


def value(sid, n):
    """Every part says whose it is."""
    return {"id": sid, "n": n, "text": f"{sid}/{n};" * 6}


class Writer(threading.Thread):
    """One connection to one pod."""

    def __init__(self, pod, number, run, pace, read_every):
        super().__init__(daemon=True)
        self.pod, self.pace, self.read_every = pod, pace, read_every
        self.client = Client(pod)
        self.stem = f"CA{run:08x}{number:08x}"
        self.counter = self.sid(0)
        self.over = threading.Event()
        self.events = []
        # What was acknowledged: n and revision by id. What was not: (id, n).
        self.acknowledged, self.open = {}, set()
        self.codes, self.reads = collections.Counter(), collections.Counter()
        self.wrong, self.odd, self.behind = [], [], []
        self.slowest = 0.0

    def sid(self, n):
        return f"{self.stem}{n:016x}"

    def run(self):
        n = 0
        while not self.over.is_set():
            n += 1
            sid = self.counter if n % COUNT_EVERY == 0 else self.sid(n)
            self.write(sid, n)
            if n % self.read_every == 0:
                # What was just written, or what has long been there.
                self.read(sid if n % (2 * self.read_every) else self.sid(1))
            time.sleep(self.pace)
        self.client.close()

    def write(self, sid, n):
        began = time.monotonic()
        try:
            answer = self.client.put(sid, value(sid, n))
        except (OSError, ValueError) as error:
            answer = None
            self.odd.append(f"write: {error!r}")
        ended = time.monotonic()
        self.slowest = max(self.slowest, ended - began)
        if answer is not None and answer.status in (200, 201):
            self.acknowledged[sid] = (n, int(answer.json()["revision"]))
            return self.events.append(Event(began, ended, "acknowledged", sid))
        self.open.add((sid, n))
        self.events.append(Event(began, ended, "refused", sid))
        if answer is not None and answer.status == 503:
            self.codes[answer.json().get("error_code", "?")] += 1
        elif answer is not None:
            self.odd.append(f"write: {answer.status} {answer.body[:120]!r}")

    def read(self, sid):
        began = time.monotonic()
        try:
            answer = self.client.get(sid)
        except (OSError, ValueError) as error:
            return self.odd.append(f"read: {error!r}")
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)
        self.reads["stale" if answer.is_stale else answer.status] += 1
        if answer.status == 200 and not is_value(answer.json()["data"], sid):
            self.wrong.append(f"{sid}: {answer.body[:200]!r}")
        elif answer.status not in (200, 404, 503):
            self.odd.append(f"read: {answer.status} {answer.body[:120]!r}")
        # Nobody else writes this handoff: it is as new as its last acknowledged write, or newer.
        n, revision = self.acknowledged.get(sid, (0, 0))
        if answer.status == 404 and n or answer.status == 200 and int(answer.headers["x-handoff-revision"]) < revision:
            self.behind.append(f"{sid} ({n}): {answer.status}{', marked stale' if answer.is_stale else ''}")


def is_value(data, sid):
    return data == value(sid, data.get("n"))


class Load:
    """The writers of several pods."""

    def __init__(self, pods, run, each=4, pace=0.01, read_every=READ_EVERY):
        self.pods = pods
        self.writers = [Writer(pod, p * 100 + w, run, pace, read_every) for p, pod in enumerate(pods) for w in range(each)]

    def start(self):
        for writer in self.writers:
            writer.start()

    def stop(self):
        for writer in self.writers:
            writer.over.set()
        for writer in self.writers:
            writer.join(timeout=30)
            if writer.is_alive():
                raise Unhealthy(f"a writer of {writer.pod.name} was never answered")

    def count(self, kind):
        return sum(event.kind == kind for writer in self.writers for event in tuple(writer.events))

    def events(self, pod):
        """What was answered by this pod, in the order of the answers."""
        return sorted((e for w in self.writers if w.pod is pod for e in tuple(w.events)), key=lambda e: e.ended)

    def writes_since(self, since):
        """Whether every pod has acknowledged a write that began since then."""
        return all(any(e.kind == "acknowledged" and e.began >= since for w in self.writers if w.pod is pod
                       for e in w.events[-50:]) for pod in self.pods)

    def total(self, name):
        """The writers' findings of that name, in one list."""
        return [each for writer in self.writers for each in getattr(writer, name)]

    def tally(self, name):
        """The writers' counters of that name, added."""
        return sum((getattr(writer, name) for writer in self.writers), collections.Counter())

    @property
    def slowest(self):
        return max(writer.slowest for writer in self.writers)


class Findings:
    """What became of what was acknowledged."""

    def __init__(self):
        self.looked_up, self.lost, self.late, self.wrong = 0, [], 0, []


def look_up(load, pod, hands=4):
    """Looks for every acknowledged write on that pod."""
    findings, lock = Findings(), threading.Lock()
    wanted = collections.deque((w, sid, *was) for w in load.writers for sid, was in w.acknowledged.items())
    faults = []

    def hand():
        client = Client(pod)
        try:
            while wanted:
                writer, sid, n, revision = wanted.pop()
                found = _ask(client, sid)
                with lock:
                    _judge(findings, writer, sid, n, revision, found)
        except IndexError:
            pass
        except (Unhealthy, OSError, ValueError) as error:
            faults.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=hand, daemon=True) for _ in range(hands)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise Unhealthy(f"looking up: {faults[0]!r}")
    return findings


def _ask(client, sid):
    """What the store has now: an answer from memory is none."""
    for _ in range(20):
        answer = client.get(sid)
        if answer.status == 404 or (answer.status == 200 and not answer.is_stale):
            return answer
        time.sleep(0.25)
    raise Unhealthy(f"{sid} cannot be looked up: {answer.status} {answer.body[:120]!r}")


def _judge(findings, writer, sid, n, revision, answer):
    findings.looked_up += 1
    if answer.status == 404:
        return findings.lost.append(f"{sid} ({n}): absent")
    data = answer.json()["data"]
    if not is_value(data, sid):
        return findings.wrong.append(f"{sid}: {answer.body[:200]!r}")
    now = int(answer.headers["x-handoff-revision"])
    if now < revision:
        findings.lost.append(f"{sid} ({n}): revision {now}, acknowledged {revision}")
    elif data["n"] < n:
        # A newer revision of older content: a write that was never acknowledged, carried out later.
        if now > revision and (sid, data["n"]) in writer.open:
            findings.late += 1
        else:
            findings.lost.append(f"{sid} ({n}): {data['n']} is there")
