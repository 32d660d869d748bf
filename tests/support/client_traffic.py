"""Users' requests, sent beside a story."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from outrider.cli.demo.traffic import Tally, Traffic


@contextmanager
def raw_traffic(url: str, model: str) -> Iterator[Tally]:
    """Twenty requests a second from a raw client in a thread of its own."""
    loop = asyncio.new_event_loop()
    traffic = Traffic(url, model, per_second=20)
    thread = threading.Thread(target=lambda: loop.run_until_complete(traffic.run()))
    thread.start()
    try:
        yield traffic.tally
    finally:
        loop.call_soon_threadsafe(traffic.stop)
        thread.join()
        loop.close()
