"""The server between load and end: it listens, and when told to stop it lets running requests end."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from outrider.kube.clock import SystemClock
from outrider.serving.simulator.flags import Flags
from outrider.serving.simulator.middleware import InFlight
from outrider.serving.simulator.server import make_app
from outrider.serving.simulator.service import Service
from outrider.serving.simulator.settings import Settings

logger = logging.getLogger("simulator")

KEEPALIVE_SECONDS = 5.0
"""Idle connections are closed after this, as by vLLM's HTTP server (`VLLM_HTTP_TIMEOUT_KEEP_ALIVE`)."""
ABORT_SECONDS = 1.0
"""How long requests that are aborted at the end may take to notice."""
BACKLOG = 2048
"""Connections that wait to be accepted, as uvicorn has it."""


async def run_until(
    stopping: "asyncio.Task[Any]",
    flags: Flags,
    settings: Settings,
    listener: socket.socket,
    *,
    crash: Callable[[str], None],
) -> int:
    """Serve on `listener` until `stopping` is done, drain, and return the exit code: 0, or 1 if the engine failed."""
    service = Service(flags, settings, SystemClock(), CollectorRegistry(), crash=crash)
    in_flight = InFlight()
    runner = web.AppRunner(
        make_app(service, in_flight),
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=ABORT_SECONDS,
    )
    engine = asyncio.create_task(service.run())
    await runner.setup()
    site = web.SockSite(runner, listener, backlog=BACKLOG)
    await site.start()
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    logger.info("Starting vLLM API server on http://%s:%d", shown, port)
    await asyncio.wait({stopping, engine}, return_when=asyncio.FIRST_COMPLETED)
    failed = engine.done()
    if failed:
        logger.error("EngineDeadError: %r", engine.exception())
    else:
        await _drain(runner, in_flight, flags.shutdown_timeout)
    await runner.cleanup()
    engine.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await engine
    logger.info("Shutdown complete")
    return 1 if failed else 0


async def _drain(runner: web.AppRunner, in_flight: InFlight, timeout: float) -> None:
    """Refuse new connections, close idle ones, let requests end for up to `timeout` seconds, then abort the rest."""
    in_flight.draining = True
    for site in list(runner.sites):
        await site.stop()
    # Requests that have just arrived get their turn to start before the idle connections are told from the busy.
    await asyncio.sleep(0)
    if runner.server is not None:
        runner.server.pre_shutdown()
    if in_flight.tasks:
        logger.info("Waiting up to %g s for %d requests to end (--shutdown-timeout)", timeout, len(in_flight.tasks))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await in_flight.wait_idle()
    if in_flight.tasks:
        logger.warning("Aborting %d requests", len(in_flight.tasks))
        for task in list(in_flight.tasks):
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABORT_SECONDS):
                await in_flight.wait_idle()
