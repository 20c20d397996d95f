"""Work in a process of its own, so that what is measured is not our own slowness; and two plain TCP relays."""

import asyncio
import contextlib
import multiprocessing

import topology
from bench_common import Void

FORK = multiprocessing.get_context("fork")


class Apart:
    """Runs work(*arguments, pipe) apart, until it is stopped. What it sends is a complaint, or an answer."""

    def __init__(self, work, *arguments):
        self.pipe, theirs = FORK.Pipe()
        self.process = FORK.Process(target=self._run, args=(work, arguments, theirs), daemon=True)
        self.process.start()

    @staticmethod
    def _run(work, arguments, pipe):
        topology.end_with_parent()
        with contextlib.suppress(KeyboardInterrupt):
            work(*arguments, pipe)

    def check(self):
        """Complains when it has complained or ended."""
        if self.pipe.poll():
            raise Void(self.pipe.recv())
        if not self.process.is_alive():
            raise Void("a process of the bench ended")

    def stop(self):
        self.process.kill()
        self.process.join()


class Side(asyncio.Protocol):
    """One of a relay's two connections."""

    def __init__(self, relay, other=None):
        self.relay, self.other, self.transport, self.early = relay, other, None, []

    def connection_made(self, transport):
        self.transport = transport
        if self.other is None:
            asyncio.ensure_future(self.join())

    async def join(self):
        """Finds whom to relay to."""
        back = await self.relay.connect(self)
        if back is None or self.transport.is_closing():
            self.transport.close()
            if back is not None:
                back.transport.close()
            return
        self.other = back
        for data in self.early:
            back.transport.write(data)

    def data_received(self, data):
        if self.other is None:
            self.early.append(data)
        else:
            self.relay.passes(self.other.transport, data)

    def connection_lost(self, _):
        if self.other is not None:
            # What was written before goes out first.
            self.relay.ends(self.other.transport)


class Relay:
    """A plain TCP relay to one place, that can be made to hold everything back."""

    def __init__(self, address):
        self.address, self.held = address, None

    async def connect(self, front):
        host, _, port = self.address.rpartition(":")
        try:
            return (await asyncio.get_running_loop().create_connection(
                lambda: Side(self, front), host, int(port)))[1]
        except OSError:
            return None

    def passes(self, transport, data):
        if self.held is None:
            transport.write(data)
        else:
            self.held.append((transport, data))

    def ends(self, transport):
        if self.held is None:
            transport.close()
        else:
            self.held.append((transport, None))

    def hold(self):
        self.held = [] if self.held is None else self.held

    def release(self):
        held, self.held = self.held or [], None
        for transport, data in held:
            if data is None:
                transport.close()
            elif not transport.is_closing():
                transport.write(data)


def relay(port, address, pipe):
    """Relays from a port to an address; "hold" and "release" come through the pipe."""
    async def serve():
        one, loop = Relay(address), asyncio.get_running_loop()
        await loop.create_server(lambda: Side(one), "127.0.0.1", port)
        loop.add_reader(pipe.fileno(), lambda: getattr(one, pipe.recv())())
        await asyncio.Event().wait()
    asyncio.run(serve())
