"""The worker as Faust runs it: what it starts besides the app, and its end in order.

Imported late, because Faust is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import faust
from aiohttp.web import AppRunner
from prometheus_client import CollectorRegistry

from streams import ends
from streams.faults import MISCONFIGURED, RestartWorker
from streams.health import serve
from streams.logging import say
from streams.options import WorkerOptions

STOP_S = 15.0
"""From SIGTERM to the end, at most: a drain (5 s), leaving the group, closing connections. With a
Kafka that is gone each of these would wait for ever."""


class Web(faust.Service):
    """Health and metrics."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        ready: Callable[[], str | None],
        registry: CollectorRegistry,
    ) -> None:
        """As health.serve."""
        super().__init__()
        self._host = host
        self._port = port
        self._ready = ready
        self._registry = registry
        self._runner: AppRunner | None = None

    async def on_start(self) -> None:
        """A port that is taken is a wrong setting: nothing has been started yet."""

        def listening(port: int) -> None:
            say("web.listening", host=self._host, port=port)

        try:
            self._runner = await serve(
                host=self._host,
                port=self._port,
                ready=self._ready,
                registry=self._registry,
                listening=listening,
            )
        except OSError as error:
            say("worker.failed", why=f"HITRUN_HTTP_PORT: {error.strerror or error}")
            os._exit(MISCONFIGURED)

    async def on_stop(self) -> None:
        """Last of all, so that the end can be watched."""
        if self._runner is not None:
            await self._runner.cleanup()


class OrderlyWorker(faust.Worker):
    """Says when it is asked to end, and does end."""

    _asked = False

    def __init__(self, app: faust.App, *services: faust.Service, options: WorkerOptions) -> None:
        """`options.end` is called when the end takes too long."""
        super().__init__(app, *services, loglevel="WARN", quiet=True, override_logging=False)
        self._options = options

    def install_signal_handlers(self) -> None:
        """Faust's, and what was asked before them."""
        super().install_signal_handlers()
        if ends.asked():
            self._schedule_shutdown(signal.SIGTERM)

    async def stop(self) -> None:
        """Called for a signal."""
        if not self._asked:
            self._asked = True
            say("worker.stopping")
            why = RestartWorker(f"its end took more than {STOP_S:.0f} s; is Kafka there?")
            # A thread: whatever hangs may hang the loop.
            timer = threading.Timer(STOP_S, self._options.end, [why])
            timer.daemon = True
            timer.start()
        await super().stop()
