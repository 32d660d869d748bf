"""The traffic of users: of the official client, and of a raw one that sees every byte."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from openai import OpenAI

from outrider.cli.demo.traffic import Tally, Traffic


class OpenAiTraffic:
    """Ten requests a second from the official client without retries, every second one streamed."""

    def __init__(self, url: str, model: str, headers: Mapping[str, str] | None = None) -> None:
        self.client = OpenAI(
            base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60, default_headers=dict(headers or {})
        )
        self.model = model
        self.sent = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._workers = [threading.Thread(target=self._work, args=(number,)) for number in range(4)]

    def _work(self, number: int) -> None:
        while not self._stop.wait(0.4):
            self.sent += 1
            try:
                if number % 2:
                    self._stream()
                else:
                    answer = self.client.chat.completions.create(
                        model=self.model, messages=[{"role": "user", "content": "hi"}], max_tokens=12
                    )
                    assert answer.choices[0].message.content
            except Exception as error:  # noqa: BLE001 - whatever the user's code would have seen
                self.failures.append(repr(error))

    def _stream(self) -> None:
        finish = None
        stream = self.client.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": "hi"}], max_tokens=12, stream=True
        )
        for event in stream:
            if event.choices:
                finish = event.choices[0].finish_reason or finish
        assert finish in ("stop", "length"), "the stream broke off"

    def __enter__(self) -> Self:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for worker in self._workers:
            worker.join()
        self.client.close()


@contextmanager
def raw_traffic(
    url: str, model: str, headers: Mapping[str, str] | None = None, *, per_second: float = 20, max_tokens: int = 16
) -> Iterator[Tally]:
    """Requests at a steady rate from a raw client in a thread of its own, every second one streamed."""
    loop = asyncio.new_event_loop()
    traffic = Traffic(url, model, per_second=per_second, max_tokens=max_tokens, headers=headers)
    thread = threading.Thread(target=lambda: loop.run_until_complete(traffic.run()))
    thread.start()
    try:
        yield traffic.tally
    finally:
        loop.call_soon_threadsafe(traffic.stop)
        thread.join()
        loop.close()
