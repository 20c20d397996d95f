"""Three pods behind a plain TCP balancer, each in turn told to end and begun anew, while clients go on."""

import asyncio
import os
import random

import bench_apart
import topology
from bench_common import *

REQUESTS = int(os.environ.get("ROLLING_REQUESTS", "50000"))
PODS, CLIENTS, HANDOFFS = 3, 24, 200
READS_A_WRITE = 10
DRAIN = 2
PATIENCE = 10
LOOK_EVERY = 0.2


class Balancer(bench_apart.Relay):
    """Relays to the next pod that says it is ready, and past one that refuses the connection."""

    def __init__(self, addresses):
        super().__init__(None)
        self.addresses, self.ready, self.turn = addresses, set(), 0

    async def look(self, address):
        """A pod is used while its /readyz says so."""
        request = b"GET /readyz HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"
        while True:
            is_ready, line = False, None
            try:
                async with asyncio.timeout(1):
                    line = await Line.open(address)
                    is_ready = (await line.send(request)).status == 200
            except (OSError, TimeoutError):
                pass
            if line is not None:
                line.close()
            (self.ready.add if is_ready else self.ready.discard)(address)
            await asyncio.sleep(LOOK_EVERY)

    async def connect(self, front):
        for _ in self.addresses:
            self.turn = (self.turn + 1) % len(self.addresses)
            if self.addresses[self.turn] in self.ready:
                self.address = self.addresses[self.turn]
                back = await super().connect(front)
                if back is not None:
                    return back
        return None


def balance(port, addresses, _pipe):
    async def serve():
        one = Balancer(addresses)
        looks = [asyncio.ensure_future(one.look(address)) for address in addresses]
        await asyncio.get_running_loop().create_server(lambda: bench_apart.Side(one), "127.0.0.1", port, backlog=512)
        await asyncio.gather(*looks)
    asyncio.run(serve())


class Load:
    """What the clients send, and what became of it."""

    def __init__(self, address, key):
        self.address, self.key, self.stop = address, key, False
        self.requests = self.writes = self.behind = self.seen = self.reconnected = 0
        self.failed = []
        self.handoffs = [some_handoff() for _ in range(HANDOFFS)]
        self.acked = dict.fromkeys(self.handoffs, 0)
        # Read directly when they are up: (address, or None while it is being restarted).
        self.pods = []

    async def request(self, caller, request):
        """The answer, if it is a good one."""
        self.requests += 1
        try:
            answer = await caller.send(request, PATIENCE)
        except (OSError, TimeoutError) as error:
            self.failed.append(repr(error))
            # As a client that waits before it comes back.
            await asyncio.sleep(0.01)
            return None
        self.reconnected += answer.is_last
        if answer.status in (200, 201):
            return answer
        self.failed.append(f"{answer.status} {answer.body[:200]!r}")
        return None

    async def write(self, caller, handoff):
        self.writes += 1
        answer = await self.request(caller, put(handoff, another()))
        if answer is not None:
            self.acked[handoff] = max(self.acked[handoff], answer.revision)

    async def read(self, caller, handoff):
        expected = self.acked[handoff]
        answer = await self.request(caller, get(handoff, self.key))
        if answer is not None:
            self.seen += 1
            self.behind += answer.revision < expected

    async def client(self):
        caller = Caller(self.address)
        while not self.stop:
            handoff = random.choice(self.handoffs)
            if self.acked[handoff] and random.randrange(READS_A_WRITE + 1):
                await self.read(caller, handoff)
            else:
                await self.write(caller, handoff)
        caller.close()

    async def read_everywhere(self, tally):
        """A write through the balancer, then a read on each pod that is up, on a connection of its own."""
        caller, handoff = Caller(self.address), some_handoff()
        self.acked[handoff] = 0
        while not self.stop:
            await self.write(caller, handoff)
            for pod in [pod for pod in self.pods if pod]:
                direct = await Line.open(pod)
                answer = await direct.send(get(handoff, self.key))
                direct.close()
                tally["reads"] += 1
                tally["behind"] += answer.status != 200 or answer.revision < self.acked[handoff]
            await asyncio.sleep(0.01)


async def roll(pods, load):
    """Each pod in turn, again and again until there were requests enough: how many were restarted."""
    restarted = 0
    while load.requests < REQUESTS or restarted < len(pods):
        n = restarted % len(pods)
        pod, load.pods[n] = pods[n], None
        pod.terminate()
        while pod.process.poll() is None:
            await asyncio.sleep(0.02)
        if pod.process.returncode != 0:
            raise Void(f"a pod that was told to end ended with {pod.process.returncode}")
        pod.begin()
        while not await asyncio.to_thread(pod.is_ready):
            await asyncio.sleep(0.05)
        load.pods[n] = pod.address
        restarted += 1
    return restarted


async def play(pods, address, key):
    load, direct = Load(address, key), {"reads": 0, "behind": 0}
    load.pods = [pod.address for pod in pods]
    tasks = [asyncio.ensure_future(load.client()) for _ in range(CLIENTS)]
    tasks.append(asyncio.ensure_future(load.read_everywhere(direct)))
    begun = asyncio.get_running_loop().time()
    rolling = asyncio.ensure_future(roll(pods, load))
    await asyncio.wait([rolling, *tasks], return_when=asyncio.FIRST_COMPLETED)
    load.stop = True
    restarted = await rolling
    await asyncio.gather(*tasks)
    return load, direct, restarted, asyncio.get_running_loop().time() - begun


def rolling(binary):
    with stage() as (folder, started):
        store = redis(folder / "redis", started)
        pods = [started(Baton(binary, store.url, DRAIN_SECONDS=DRAIN, LOG="warn")) for _ in range(PODS)]
        key = pods[0].key()
        port = topology.loopback("balancer", 0).port
        address = f"127.0.0.1:{port}"
        apart = started(bench_apart.Apart(balance, port, [pod.address for pod in pods]))
        topology.until("the balancer has a pod", lambda: ask(address, "GET", "/readyz")[0] == 200)
        load, direct, restarted, took = asyncio.run(play(pods, address, key))
        apart.check()
        tell(load, direct, restarted, took)


def tell(load, direct, restarted, took):
    print(f"rolling restart, {PODS} pods behind a plain TCP balancer, {CLIENTS} connections, {READS_A_WRITE} reads : "
          f"1 write: {restarted} restarts in {took:.0f} s, {load.requests} requests ({load.writes} writes), "
          f"{load.reconnected} answers with Connection: close; failed {len(load.failed)} (goal 0)")
    print(f"read your writes: {load.seen} reads through the balancer, {load.behind} behind an acknowledged write; "
          f"{direct['reads']} reads on each pod directly, {direct['behind']} behind (goal 0)")
    for what in sorted(set(load.failed))[:5]:
        print(f"  failed {load.failed.count(what)} times: {what}")
    goal(not load.failed, "rolling restart")
    goal(not load.behind and not direct["behind"], "read your writes")
