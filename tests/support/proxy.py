"""A TCP proxy on the loopback interface, to be hurt: slow, silent, a black hole, cut.

with Proxy("127.0.0.1", broker_port) as proxy:
    proxy.delay_s = 0.2                     # each way, in order
    proxy.stall(); proxy.flow()             # nothing moves; then all of it does
    proxy.black_hole(); proxy.heal()        # what was connected meanwhile stays dead
    proxy.cut()                             # every connection ends with a reset
    proxy.cut_at(END_TXN, done=True)        # the broker does it, nobody hears of it
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Self

HOST = "127.0.0.1"
CHUNK = 64 * 1024
START_S = 10.0
DONE_S = 0.05
"""So long a broker gets to carry out a request whose answer nobody will hear."""

PRODUCE, INIT_PRODUCER_ID, ADD_PARTITIONS, END_TXN = 0, 22, 24, 26
"""API keys of Kafka's requests that a transaction is made of."""


class Proxy:
    """See the module. Lives in a thread of its own; every method may be called from any other."""

    def __init__(self, host: str, port: int, *, own_port: int = 0) -> None:
        """To `host`:`port`; listens on `own_port` of the loopback interface, 0: a free one."""
        self._target = (host, port)
        self.port = own_port
        self.delay_s = 0.0
        """How late each byte is, each way."""
        self.connections = 0
        """Accepted so far."""
        self.cuts = 0
        """Connections cut so far."""
        self._links: set[_Link] = set()
        self._hole = False
        self._refuse = False
        self._wanted: tuple[int, bool] | None = None
        self._met = threading.Event()
        self._flowing: asyncio.Event
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def address(self) -> str:
        """What clients connect to."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._loop.close()

    # ------------------------------------------------------------------ faults

    def stall(self) -> None:
        """From now on no byte moves; nothing is closed, connections are still accepted."""
        self._soon(self._flowing.clear)

    def flow(self) -> None:
        """After `stall`: what was held back goes on, in order."""
        self._soon(self._flowing.set)

    def black_hole(self) -> None:
        """Half-open: connections are accepted, what they send is swallowed; those there are the
        same, and stay so when it heals, as after a firewall has forgotten them."""

        def swallow() -> None:
            self._hole = True
            for link in self._links:
                link.dead = True

        self._soon(swallow)

    def heal(self) -> None:
        """After `black_hole` or `refuse`: new connections work."""

        def heal() -> None:
            self._hole = self._refuse = False

        self._soon(heal)

    def cut(self) -> None:
        """Ends every connection with a reset; new ones are accepted."""
        self._soon(self._cut)

    def refuse(self) -> None:
        """As `cut`, and new ones are reset as well, until `heal`."""

        def refuse() -> None:
            self._refuse = True
            self._cut()

        self._soon(refuse)

    def cut_at(self, request: int, *, done: bool) -> threading.Event:
        """Cuts everything when the next request with this API key comes, once: before it reaches
        the broker, or with `done` after the broker has done it, and nobody hears the answer.
        The event is set when it has happened."""
        met = threading.Event()

        def want() -> None:
            self._wanted, self._met = (request, done), met

        self._soon(want)
        return met

    # ------------------------------------------------------------------ the proxy itself

    def _soon(self, act: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(act)

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    async def _listen(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = await asyncio.start_server(self._accepted, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self) -> None:
        self.cuts += len(self._links)
        for link in tuple(self._links):
            link.reset()
        self._links.clear()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(writer)
        if self._refuse:
            link.reset()
            return
        self._links.add(link)
        try:
            if self._hole:
                link.dead = True
                await _swallow(reader)
                return
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            link.writers.append(far_writer)
            up = asyncio.create_task(self._pass(link, reader, far_writer, requests=True))
            down = asyncio.create_task(self._pass(link, far_reader, writer, requests=False))
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            for task in (up, down):
                task.cancel()
        except OSError:
            pass  # the broker is not there: so are we not
        finally:
            self._links.discard(link)
            link.reset()

    async def _pass(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        requests: bool,
    ) -> None:
        """One direction: reads at once, hands on when it is time."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)
        sending = asyncio.create_task(self._send(link, waiting, writer))
        try:
            while True:
                data = await (_frame(reader) if requests else reader.read(CHUNK))
                if not data:
                    await _emptied(waiting, sending)
                    return
                if requests and self._is_wanted(data):
                    await self._meet(writer, data)
                    return
                await waiting.put((time.monotonic() + self.delay_s, data))
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            sending.cancel()

    async def _send(
        self,
        link: _Link,
        waiting: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._flowing.wait()
                if not link.dead:
                    writer.write(data)
                    await writer.drain()
                waiting.task_done()

    def _is_wanted(self, frame: bytes) -> bool:
        return self._wanted is not None and frame[4:6] == struct.pack(">h", self._wanted[0])

    async def _meet(self, writer: asyncio.StreamWriter, frame: bytes) -> None:
        assert self._wanted is not None
        (_, done), self._wanted = self._wanted, None
        if done:
            # Nothing comes back meanwhile: the answer is held as in a stall, and dies with the cut.
            self._flowing.clear()
            writer.write(frame)
            await writer.drain()
            await asyncio.sleep(DONE_S)
        self._cut()
        self._flowing.set()
        self._met.set()


class _Link:
    """A client's connection and its continuation to the broker."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.dead = False
        """It swallows everything, for good."""

    def reset(self) -> None:
        """Both ends learn of it by a RST, not in order."""
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                with contextlib.suppress(OSError):
                    linger = struct.pack("ii", 1, 0)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """One request, with its length before it; b"" at the end."""
    try:
        head = await reader.readexactly(4)
        return head + await reader.readexactly(int.from_bytes(head, "big"))
    except asyncio.IncompleteReadError:
        return b""


async def _swallow(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(CHUNK):
            pass


async def _emptied(waiting: asyncio.Queue[Any], sending: asyncio.Task[None]) -> None:
    """Everything was handed on, or can't be any more."""
    done = asyncio.create_task(waiting.join())
    try:
        await asyncio.wait([done, sending], return_when=asyncio.FIRST_COMPLETED)
    finally:
        done.cancel()
