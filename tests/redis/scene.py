"""What every fault has in common: servers, two pods, writers, and what is to be said at the end."""

import os
import subprocess
import sys
import tempfile
import time

import load
import watch
from node import Unhealthy, end_with_parent, until
from pod import Pod

# A run that hardly wrote anything shows nothing.
LEAST = 500
GAP = 5.0
# Writing goes on for so long once all is well.
AFTER = 3.0
# The deadline of a request is 2.5 s; no answer may take longer than this (design: behaviour under failure).
SLOWEST = 3.0
HERE = os.path.dirname(os.path.abspath(__file__))


class Scene:
    """Servers in a network, two pods that use them, writers at both."""

    def __init__(self, network, folder, options, run):
        self.network, self.options, self.number = network, options, run
        self.keeper = tempfile.TemporaryDirectory(dir=folder)
        self.folder = self.keeper.name
        self.servers = self.load = self.watch = None
        self.pods, self.processes, self.notes = [], [], []
        self.survivors, self.faulted_at = [], None
        # Whether writes must be lost with the guard off; whether reads must be answered from memory.
        self.expects_loss = self.expects_stale = False
        # Ids that count for the write gap (all), and from when to when writes must pass (as the watch sees it).
        self.of_interest, self.stretches = None, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pod in self.pods:
            pod.stop()
        for process in self.processes:
            process.kill()
            process.wait()
        if self.servers:
            self.servers.stop()
        self.keeper.cleanup()

    @property
    def replicas(self):
        return 0 if self.options.guard_off else self.servers.replicas

    def serve(self, servers, url=None):
        """Starts the servers and both pods."""
        self.servers = servers
        servers.start()
        self.url = url or servers.url
        for name in ("pod1", "pod2"):
            self.pod(name, 8080).start()
        self.survivors = list(self.pods)

    def pod(self, place, port):
        settings = {"BATON_STORE": self.url, "BATON_REDIS_REPLICAS": str(self.replicas),
                    "BATON_REDIS_PREFIX": f"faults{self.number}"}
        pod = Pod(self.options.baton, f"{place}-{port}", self.network.place(place, port), self.folder, settings)
        self.pods.append(pod)
        return pod

    def proxy(self, target):
        """A proxy before that node, at a place of its own: its URL, and how it is told what to do."""
        place = self.network.place("proxy", 6380)
        with place.inside():
            process = subprocess.Popen(
                [sys.executable, "-B", os.path.join(HERE, "proxy.py"), place.host, str(place.port), target.place.host,
                 str(target.place.port)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
        self.processes.append(process)
        process.stdout.readline()

        def tell(what):
            process.stdin.write(what + "\n")
            process.stdin.flush()
            process.stdout.readline()
        return f"redis://{place}", tell

    def begin(self, named, **more):
        """Starts the writers and the watch, and waits until enough is written."""
        self.load = load.Load(list(self.pods), self.number, **more)
        self.watch = watch.Watch(lambda: named(), self.servers.replicas, lambda: self.network.apart)
        self.load.start()
        began = time.monotonic()
        until(f"void: {LEAST} acknowledged writes before the fault",
              lambda: self.load.count("acknowledged") >= LEAST and time.monotonic() > began + 2, 30)
        self.before = self.load.count("acknowledged")

    def fault(self):
        """From now on it counts."""
        self.watch.start()
        self.faulted_at = time.monotonic()

    def settle(self, healthy):
        """Waits until servers and pods are as before, and ends the writing."""
        healed_at = time.monotonic()
        until("the servers are as before", healthy, 60, every=0.25)
        self.notes.append(f"servers as before {time.monotonic() - healed_at:.1f} s after healing")
        now = time.monotonic()
        try:
            until("writes", lambda: self.load.writes_since(now), 15)
            recovered = True
        except Unhealthy:
            recovered = False
        time.sleep(AFTER)
        self.watch.stop()
        ended = time.monotonic()
        self.load.stop()
        return ended, recovered

    def look_up(self):
        """Everything that was acknowledged, on a new pod beside the second: it has nothing in memory."""
        return load.look_up(self.load, self.pod("pod2", 8081).start())


class Verdict:
    """The figures of one fault, and what is wrong with them."""

    def __init__(self, scene, ended, recovered):
        self.scene, self.ended = scene, ended
        self.findings = scene.look_up()
        self.complaints = [] if recovered else ["a pod did not write again"]
        self.stretches = scene.stretches or scene.watch.stretches(scene.faulted_at, ended)
        self.gap, self.gap_at = self._gap()
        self.wrong = scene.load.total("wrong") + self.findings.wrong
        self.odd, self.behind = scene.load.total("odd"), scene.load.total("behind")

    def _gap(self):
        scene = self.scene
        chosen = scene.of_interest or (lambda sid: True)
        worst = (0.0, None)
        for pod in scene.survivors:
            times = [e.ended for e in scene.load.events(pod) if e.kind == "acknowledged" and chosen(e.sid)]
            worst = max(worst, watch.longest_gap(self.stretches, times), key=lambda each: each[0])
        return worst

    def tell(self, title):
        """Prints the figures; whether they are as they must be."""
        scene, load_ = self.scene, self.scene.load
        codes = listed(load_.tally("codes"))
        since = lambda at: "never" if at is None else f"+{at - scene.faulted_at:.1f} s"
        enough = ", ".join(f"{since(a)} to {since(b)}" for a, b in self.stretches) or "never"
        print(f"{title}, {'guard off' if scene.options.guard_off else f'WAIT {scene.replicas}'}")
        print(f"  acknowledged {load_.count('acknowledged')} ({scene.before} before the fault), unconfirmed "
              f"{load_.count('refused')} (503: {codes}), lost {len(self.findings.lost)} of {self.findings.looked_up} looked up")
        print(f"  reads: {listed(load_.tally('reads'))}; behind an acknowledged write {len(self.behind)}, "
              f"wrong payloads {len(self.wrong)}")
        print(f"  write gap with enough replicas {self.gap:.2f} s (from {since(self.gap_at)}), worst answer {load_.slowest:.2f} s, "
              f"overtaken by an older write {self.findings.late}; enough replicas: {enough}")
        for note in scene.notes:
            print(f"  {note}")
        self._judge()
        for complaint in self.complaints:
            print(f"  NOT MET: {complaint}")
        sys.stdout.flush()
        return not self.complaints

    def _judge(self):
        complain = self.complaints.append
        lost = self.findings.lost
        if self.scene.options.guard_off:
            if self.scene.expects_loss:
                print(f"  losses are expected here, and there are {'some' if lost else 'none'}")
                if not lost:
                    complain("the test does not notice that the guard is off")
            return
        if lost:
            complain(f"{len(lost)} acknowledged writes lost, such as {lost[0]}")
        if self.wrong:
            complain(f"{len(self.wrong)} wrong payloads, such as {self.wrong[0]}")
        if self.behind:
            complain(f"{len(self.behind)} reads behind an acknowledged write, such as {self.behind[0]}")
        if self.odd:
            complain(f"{len(self.odd)} answers that are none, such as {self.odd[0]}")
        if self.scene.expects_stale and not self.scene.load.tally("reads")["stale"]:
            complain("memory answered no read, marked stale, while the server could not")
        if not self.stretches:
            complain("there were never enough replicas again")
        if self.gap > GAP:
            complain(f"no acknowledged write for {self.gap:.1f} s; {GAP:.0f} are allowed")
        if self.scene.load.slowest > SLOWEST:
            complain(f"an answer took {self.scene.load.slowest:.2f} s; {SLOWEST:.0f} are allowed")


def listed(counter):
    return ", ".join(f"{name} {n}" for name, n in sorted(counter.items(), key=str)) or "none"
