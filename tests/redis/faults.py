#!/usr/bin/env python3
"""Breaks the Redis that Baton writes to, and counts what of the acknowledged is lost.

    tests/redis/faults.py [--short] [--guard-off] [--rounds N] [--baton FILE] [NAME…|all]

Faults (of each, `sentinel-…`: a primary, three replicas, of which the third is never promoted, and three
Sentinels; `cluster-…`: three primaries with two replicas each; two replicas must have a write):

    kill                kill -9 of the primary, which comes back later
    cut-primary         the primary, a Sentinel and a pod are cut off from all others for a while
    cut-primary-replica …and with them a replica
    cut-replica         a replica and a pod are cut off

and `slow` (one server behind a proxy that delays, stutters, cuts replies in their middle, is silent and
refuses) and `cluster-reshard` (all slots of the busiest primary move to another and back). By name alone,
`sentinel-cut-primary-two`: primary and two replicas are cut off; it shows what this setting does not survive.

Two pods write all the time. Every acknowledged write is looked up afterwards on a new pod of the side that
went on. Exits 1 when one was lost or a figure is not met. --guard-off sets BATON_REDIS_REPLICAS=0 and runs
those that must then lose writes; it exits 1 when they do not. --short: the kill and one cut.
Needs root, redis-server, redis-cli, iproute2 and util-linux; 69 when one is missing.
"""

import argparse
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import network
import topology
import watch
from node import Missing, Unhealthy
from scene import Scene, Verdict, listed

HOLD = 10.0
RESTART = 6.0
# Between two ways of being slow.
CLEAR = 3.0
SLOW = [("delay 0.05", 4), ("delay 0.4", 4), ("stutter 1.5", 8), ("delay 1.5", 5), ("cut 0.05", 6), ("silent", 5), ("refuse", 4)]


def sentinel(scene):
    """Starts it; the nodes of the primary and its replicas, and what tells when all is as before."""
    servers = topology.Sentinel(scene.folder, 3, places=scene.network.place)
    scene.serve(servers)
    # The second Sentinel is on the side that goes on.
    scene.begin(lambda: servers.primary(servers.sentinels[1]))

    def healthy():
        return (all(servers.agrees(each) for each in servers.sentinels)
                and servers.primary(servers.sentinels[1]).confirms(servers.followers))
    return servers.data, ["sentinel1"], healthy


def cluster(scene):
    """Likewise; the shard is the one that is sent most."""
    servers = topology.Cluster(scene.folder, 2, places=scene.network.place)
    scene.serve(servers)
    victim = []

    def named():
        # A server of another shard is on the side that goes on.
        asked = next(shard[0] for shard in servers.shards if shard is not victim)
        return servers.holder(asked, slot)
    slot = 0
    scene.begin(lambda: named())
    victim = watch.busiest(servers)
    first = servers.shards.index(victim) * topology.SLOTS // 3
    slot = first
    slots = range(first, first + topology.SLOTS // 3 + 1)
    slot_of = watch.slot_by_id(servers, scene.load.writers[0].counter)
    scene.of_interest = lambda sid: slot_of(sid) in slots or slot_of(sid) is None
    return victim, [], lambda: all(servers.healthy(node) for node in servers.nodes)


def kill(scene, build):
    nodes, _, healthy = build(scene)
    scene.fault()
    nodes[0].kill()
    time.sleep(RESTART)
    nodes[0].start()
    scene.notes.append(f"the killed server came back at +{time.monotonic() - scene.faulted_at:.1f} s")
    return scene.settle(healthy)


def cut(scene, build, who, with_sentinel, hold=HOLD):
    """Cuts some of the shard's nodes (by number) and the first pod off from all others."""
    nodes, sentinels, healthy = build(scene)
    names = [nodes[n].name for n in who] + ["pod1"] + (sentinels if with_sentinel else [])
    scene.survivors = scene.pods[1:]
    scene.expects_loss = 0 in who
    scene.fault()
    scene.network.cut(names)
    cut_at = time.monotonic()
    time.sleep(hold)
    scene.network.heal()
    healed_at = time.monotonic()
    ended = scene.settle(healthy)
    beyond = sum(e.kind == "acknowledged" and cut_at < e.began and e.ended < healed_at for e in scene.load.events(scene.pods[0]))
    scene.notes.append(f"cut off for {healed_at - cut_at:.1f} s: {', '.join(names)}; acknowledged by the pod there meanwhile: {beyond}")
    return ended


def slow(scene, _build=None):
    servers = topology.Standalone(scene.folder, 0, places=scene.network.place)
    url, tell = scene.proxy(servers.primary)
    scene.serve(servers, url)
    scene.begin(lambda: servers.primary, read_every=1)
    scene.fault()
    scene.expects_stale = True
    clear_at, scene.stretches = [], []
    for what, seconds in SLOW:
        acknowledged, refused = scene.load.count("acknowledged"), scene.load.count("refused")
        reads = scene.load.tally("reads")
        if clear_at:
            scene.stretches.append((clear_at.pop(), time.monotonic()))
        tell(what)
        time.sleep(seconds)
        tell("clear")
        clear_at.append(time.monotonic())
        scene.notes.append(f"{what}, {seconds} s: {scene.load.count('acknowledged') - acknowledged} acknowledged, "
                           f"{scene.load.count('refused') - refused} refused; reads: {listed(scene.load.tally('reads') - reads)}")
        time.sleep(CLEAR)
    ended, recovered = scene.settle(lambda: True)
    scene.stretches.append((clear_at.pop(), ended))
    return ended, recovered


def reshard(scene, _build=None):
    victim, _, healthy = cluster(scene)
    servers = scene.servers
    other = next(shard for shard in servers.shards if shard is not victim)
    scene.of_interest = None
    slots = topology.SLOTS // 3
    scene.fault()
    for source, target in ((victim[0], other[0]), (other[0], victim[0])):
        began, before = time.monotonic(), scene.load.count("acknowledged")
        move(servers, source, target, slots)
        scene.notes.append(f"{slots} slots from {source} to {target} in {time.monotonic() - began:.1f} s, "
                           f"{scene.load.count('acknowledged') - before} writes acknowledged meanwhile")
    return scene.settle(healthy)


def move(servers, source, target, slots):
    """redis-cli moves that many of the source's slots, the lowest first."""
    topology.require("redis-cli", "redis-tools")
    ids = {node: node.call("CLUSTER", "MYID") for node in (source, target)}
    with source.place.inside():
        done = subprocess.run(
            ["redis-cli", "--cluster", "reshard", str(servers.nodes[0].place), "--cluster-from", ids[source],
             "--cluster-to", ids[target], "--cluster-slots", str(slots), "--cluster-yes", "--cluster-pipeline", "50"],
            capture_output=True, text=True, timeout=180)
    if done.returncode:
        raise Unhealthy(f"redis-cli --cluster reshard: {done.stdout[-500:]}{done.stderr[-500:]}")


SENTINEL, CLUSTER = "Sentinel, 1 primary and 3 replicas", "Cluster, 3 primaries and 6 replicas"
FAULTS = {
    "sentinel-kill": (f"{SENTINEL}: kill -9 of the primary", kill, (sentinel,)),
    "sentinel-cut-primary": (f"{SENTINEL}: primary cut off", cut, (sentinel, [0], True)),
    "sentinel-cut-primary-replica": (f"{SENTINEL}: primary and replica cut off", cut, (sentinel, [0, 1], True)),
    "sentinel-cut-replica": (f"{SENTINEL}: replica cut off", cut, (sentinel, [1], False)),
    "cluster-kill": (f"{CLUSTER}: kill -9 of a primary", kill, (cluster,)),
    "cluster-cut-primary": (f"{CLUSTER}: primary cut off", cut, (cluster, [0], False)),
    "cluster-cut-primary-replica": (f"{CLUSTER}: primary and replica cut off", cut, (cluster, [0, 1], False)),
    "cluster-cut-replica": (f"{CLUSTER}: replica cut off", cut, (cluster, [1], False)),
    "cluster-reshard": (f"{CLUSTER}: slots moved under load", reshard, ()),
    "slow": ("One server behind a bad way", slow, ()),
}
# Two of three replicas have a write and the third may be promoted: this loses writes, unless all three must have it.
BY_NAME = {
    "sentinel-cut-primary-two": (f"{SENTINEL}: primary and two replicas cut off", cut, (sentinel, [0, 1, 3], True)),
}
SHORT = ["sentinel-kill", "sentinel-cut-primary-replica"]
LOSING = [name for name in FAULTS if "cut-primary" in name]


def run(net, folder, options, name, number):
    title, fault, arguments = {**FAULTS, **BY_NAME}[name]
    began = time.monotonic()
    with Scene(net, folder, options, number) as scene:
        try:
            met = Verdict(scene, *fault(scene, *arguments)).tell(f"{name}: {title}")
        except Unhealthy as error:
            print(f"{name}: {title}\n  NOT MET: {error}")
            met = False
        if not met and os.environ.get("FAULTS_KEEP"):
            subprocess.run(["cp", "-r", scene.folder, os.environ["FAULTS_KEEP"]], check=False)
    print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return met


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(FAULTS)}; all; by name alone {', '.join(BY_NAME)}")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--guard-off", action="store_true")
    parser.add_argument("--rounds", type=int, default=1, help="each so often")
    parser.add_argument("--baton", default=os.environ.get("BATON", "target/release/baton"))
    options = parser.parse_args()
    names = options.names if options.names and options.names != ["all"] else None
    names = names or (SHORT if options.short else LOSING if options.guard_off else list(FAULTS))
    unknown = [name for name in names if name not in FAULTS and name not in BY_NAME]
    if unknown:
        parser.error(f"no fault is called {unknown[0]}; there are {', '.join(FAULTS)}")
    options.baton = os.path.abspath(options.baton)
    if not os.access(options.baton, os.X_OK):
        parser.error(f"no programme at {options.baton}")
    try:
        folder = network.enter()
    except Missing as missing:
        print(f"faults of Redis: {missing}", file=sys.stderr)
        return 69
    met = []
    for number, name in enumerate(names * options.rounds):
        with network.Network() as net:
            met.append(run(net, folder, options, name, number + 1))
    print(f"{sum(met)} of {len(met)} as they must be")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
