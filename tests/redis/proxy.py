"""A way to Redis that can be made bad.

    proxy.py LISTEN_HOST LISTEN_PORT HOST PORT

Reads what to do from its standard input, one line each:

    clear       everything passes
    delay S     every reply comes S seconds later
    stutter S   nothing passes for up to S seconds, then everything for as long, and so on
    cut P       one reply in so many (0…1) ends in its middle, and the connection with it
    silent      connections are taken and nothing passes
    refuse      connections are closed
"""

import asyncio
import random
import sys

CHUNK = 65536


class Way:
    """What is done at the moment."""

    def __init__(self):
        self.open = asyncio.Event()
        self.stutterer = None
        self.do("clear")

    def do(self, word, amount=0.0):
        if self.stutterer:
            self.stutterer.cancel()
            self.stutterer = None
        self.delay = amount if word == "delay" else 0.0
        self.cut = amount if word == "cut" else 0.0
        self.refuses = word == "refuse"
        if word == "silent":
            self.open.clear()
        else:
            self.open.set()
        if word == "stutter":
            self.stutterer = asyncio.ensure_future(self._stutter(amount))

    async def _stutter(self, longest):
        while True:
            self.open.clear()
            await asyncio.sleep(random.uniform(longest / 4, longest))
            self.open.set()
            await asyncio.sleep(random.uniform(longest / 4, longest))


async def requests(way, reader, writer):
    while data := await reader.read(CHUNK):
        await way.open.wait()
        writer.write(data)
        await writer.drain()


async def replies(way, reader, writer):
    """What comes is taken at once and given when it is due: a delay is no less bandwidth."""
    queue = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def take():
        while data := await reader.read(CHUNK):
            queue.put_nowait((loop.time() + way.delay, data))
        queue.put_nowait((loop.time(), b""))

    taking = asyncio.ensure_future(take())
    try:
        while True:
            due, data = await queue.get()
            if not data:
                return
            await asyncio.sleep(max(0.0, due - loop.time()))
            await way.open.wait()
            if way.cut and random.random() < way.cut:
                writer.write(data[:len(data) // 2])
                return
            writer.write(data)
            await writer.drain()
    finally:
        taking.cancel()


async def carry(way, target, reader, writer):
    server = None
    try:
        if way.refuses:
            return
        from_server, server = await asyncio.open_connection(*target)
        both = [asyncio.ensure_future(requests(way, reader, server)),
                asyncio.ensure_future(replies(way, from_server, writer)),
                asyncio.ensure_future(refused(way))]
        _, rest = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for each in rest:
            each.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    except OSError:
        pass
    finally:
        writer.close()
        if server is not None:
            server.close()


async def refused(way):
    while not way.refuses:
        await asyncio.sleep(0.05)


async def main(host, port, *target):
    way = Way()
    await asyncio.start_server(lambda r, w: carry(way, target, r, w), host, int(port))
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, *amount = line.split()
        way.do(word, *map(float, amount))
        print("done", flush=True)


asyncio.run(main(*sys.argv[1:]))
