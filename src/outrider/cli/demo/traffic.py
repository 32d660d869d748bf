"""Steady user traffic, and an honest count of what became of every request."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from outrider.api.labels import REVISION_HEADER

PROMPTS = (
    "Summarise the incident in two sentences.",
    "What is the capital of France?",
    "Write a haiku about disks.",
    "Explain error budgets to a new colleague.",
    "Why do rollbacks beat scaling?",
)


@dataclass(frozen=True)
class Answer:
    """One request's fate."""

    started: float
    """Seconds since the traffic began."""
    seconds: float
    streamed: bool
    failure: str = ""
    """Empty for a good answer; else what went wrong."""
    revision: str = ""
    """The revision that answered, as the gateway says; empty where it does not."""


@dataclass
class Tally:
    """What became of all requests so far. A streamed request counts as a request and as a stream."""

    answers: list[Answer] = field(default_factory=list)
    began: float = 0.0
    """Monotonic time at which the traffic began."""

    @property
    def requests(self) -> int:
        return len(self.answers)

    @property
    def failed_requests(self) -> int:
        return sum(bool(answer.failure) for answer in self.answers)

    @property
    def streams(self) -> int:
        return sum(answer.streamed for answer in self.answers)

    @property
    def broken_streams(self) -> int:
        return sum(answer.streamed and bool(answer.failure) for answer in self.answers)

    @property
    def failures(self) -> dict[str, int]:
        """How often each kind of failure was seen."""
        found: dict[str, int] = {}
        for answer in self.answers:
            if answer.failure:
                found[answer.failure] = found.get(answer.failure, 0) + 1
        return found

    def latency(self, since: float, until: float, share: float = 0.95) -> float | None:
        """A quantile of the seconds that good answers to requests of the interval took; None without any."""
        good = [answer for answer in self.answers if since <= answer.started < until and not answer.failure]
        taken = sorted(answer.seconds for answer in good)
        return taken[min(len(taken) - 1, int(share * len(taken)))] if taken else None


class Traffic:
    """Requests at a steady rate, half of them streamed. An open loop: slow answers do not thin it."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        per_second: float = 20.0,
        max_tokens: int = 16,
        timeout: float = 60.0,
        headers: Mapping[str, str] | None = None,
        prompts: Sequence[str] = PROMPTS,
    ) -> None:
        self._prompts = tuple(prompts)
        self._url = url.rstrip("/")
        self._model = model
        self._interval = 1.0 / per_second
        self._max_tokens = max_tokens
        self._headers = dict(headers or {})
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self.tally = Tally(began=time.monotonic())

    @property
    def now(self) -> float:
        """Seconds since the traffic began."""
        return time.monotonic() - self.tally.began

    async def run(self) -> None:
        """Send until `stop`, then wait for every answer that is still due."""
        self.tally.began = time.monotonic()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=self._timeout) as session:
            number = 0
            while not self._stop.is_set():
                task = asyncio.create_task(self._one(session, number))
                self._in_flight.add(task)
                task.add_done_callback(self._in_flight.discard)
                number += 1
                due = self.tally.began + number * self._interval
                try:
                    await asyncio.wait_for(self._stop.wait(), max(0.0, due - time.monotonic()))
                except TimeoutError:
                    continue
            await asyncio.gather(*self._in_flight)

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()

    async def _one(self, session: aiohttp.ClientSession, number: int) -> None:
        streamed = number % 2 == 1
        started = self.now
        body = {
            "model": self._model,
            "max_tokens": self._max_tokens,
            "messages": [{"role": "user", "content": self._prompts[number % len(self._prompts)]}],
            "stream": streamed,
        }
        failure = revision = ""
        try:
            async with session.post(f"{self._url}/v1/chat/completions", json=body, headers=self._headers) as response:
                revision = response.headers.get(REVISION_HEADER, "")
                if response.status != 200:
                    failure = f"HTTP {response.status}"
                elif streamed:
                    failure = await _read_stream(response)
                else:
                    failure = _check_completion(await response.json())
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            failure = type(error).__name__
        self.tally.answers.append(Answer(started, self.now - started, streamed, failure, revision))


def _check_completion(answer: object) -> str:
    try:
        text = answer["choices"][0]["message"]["content"]  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return "no choice in the answer"
    return "" if isinstance(text, str) and text else "an empty answer"


async def _read_stream(response: aiohttp.ClientResponse) -> str:
    """Read a stream of server-sent events to its end; a good one has content and ends with [DONE]."""
    content = False
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        data = line[6:].strip()
        if data == b"[DONE]":
            return "" if content else "a stream without content"
        event = json.loads(data)
        if "error" in event:
            return "an error in the stream"
        choices = event.get("choices") or [{}]
        content = content or bool(choices[0].get("delta", {}).get("content"))
    return "a stream without its end"
