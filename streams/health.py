"""One port: /health/live, /health/ready, /metrics. No customer data, ever."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

READY_COMMIT_AGE_S = 30.0


async def serve(
    *,
    host: str,
    port: int,
    ready: Callable[[], str | None],
    registry: CollectorRegistry,
    listening: Callable[[int], None],
) -> web.AppRunner:
    """Starts the server. `ready` says why not, or None; `listening` gets the port."""

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def readiness(_: web.Request) -> web.Response:
        why = ready()
        return web.Response(text=f"{why or 'ready'}\n", status=200 if why is None else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    pages = web.Application()
    pages.router.add_get("/health/live", live)
    pages.router.add_get("/health/ready", readiness)
    pages.router.add_get("/metrics", metrics)
    runner = web.AppRunner(pages, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    listening(runner.addresses[0][1])
    return runner
