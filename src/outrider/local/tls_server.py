"""An HTTPS server for those alone who have a client certificate."""

import ssl
from types import TracebackType
from typing import Any, Self

from aiohttp import web


class TlsServer:
    """Serves an application at an address, as long as it is entered as a context. Port 0 means any free one.

    `options` go to aiohttp's `AppRunner`.

    Raises:
        ValueError: the context does not demand client certificates: then nobody could tell who asks.
    """

    def __init__(
        self, app: web.Application, context: ssl.SSLContext, *, what: str, address: str, port: int, **options: Any
    ) -> None:
        if context.verify_mode is not ssl.CERT_REQUIRED:
            raise ValueError(f"{what} needs a TLS context that demands client certificates (CERT_REQUIRED)")
        self._context = context
        self._address, self._wanted_port = address, port
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1, **options)
        self.port = 0
        """Where it listens, once it does."""

    async def start(self) -> None:
        """Listen. Raises `OSError` where that is not possible."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self._wanted_port, ssl_context=self._context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close, and end what is being done for clients."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
