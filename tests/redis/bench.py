#!/usr/bin/env python3
"""Prints what Baton over Redis claims, measured in this run on this machine, beside its ceilings and bounds.

    tests/redis/bench.py BATON [read|wake|stale|rolling|capacity|all]

ROUNDS (5) and SECONDS_PER_ROUND (4) as for tests/bench; shorter still: WAITERS, WOKEN, STALE_READS, STALE_CUTS,
ROLLING_REQUESTS, CAPACITY_HANDOFFS. A goal that is missed is said; with GOALS=1 it is a failure, too.
"""

import os
import signal
import sys

sys.dont_write_bytecode = True
import bench_capacity
import bench_common
import bench_read
import bench_rolling
import bench_stale
import bench_wake
import topology

BENCHES = {
    "read": bench_read.read,
    "wake": bench_wake.wake,
    "stale": bench_stale.stale,
    "rolling": bench_rolling.rolling,
    "capacity": bench_capacity.capacity,
}


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] and sys.argv[2] not in [*BENCHES, "all"]:
        print(__doc__.split("\n\n")[1].strip(), file=sys.stderr)
        return 64
    binary, what = os.path.abspath(sys.argv[1]), sys.argv[2] if sys.argv[2:] else "all"
    sys.stdout.reconfigure(line_buffering=True)
    # So that what was started ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not os.access(binary, os.X_OK):
        print(f"tests/redis/bench.py: no programme {binary}", file=sys.stderr)
        return 66
    try:
        topology.require("wrk", "wrk")
        for name, bench in BENCHES.items():
            if what in (name, "all"):
                others = bench_common.Others()
                bench(binary)
                print(f"  meanwhile everything else on this machine took {100 * others.took():.0f} % of a core")
    except topology.Missing as missing:
        print(f"tests/redis/bench.py: {missing}", file=sys.stderr)
        return 69
    except topology.Unhealthy as error:
        print(f"tests/redis/bench.py: {error}", file=sys.stderr)
        return 70
    except bench_common.Void as void:
        print(f"void: {void}", file=sys.stderr)
        return 1
    for goal in bench_common.missed:
        print(f"goal missed: {goal}")
    return 1 if bench_common.missed and bench_common.GOALS else 0


sys.exit(main())
