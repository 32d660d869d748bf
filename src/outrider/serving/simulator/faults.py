"""Which request fails, and how; and the faults of the whole process: crash and memory growth."""

import random
from collections.abc import Callable

import msgspec

from outrider.kube.clock import Clock
from outrider.serving.simulator.answers import Kind
from outrider.serving.simulator.protocol import ApiError
from outrider.serving.simulator.settings import Settings

CRASH_EXIT_CODE = 1
MEGABYTE = 10**6


class Fate(msgspec.Struct, frozen=True):
    """What happens to one request."""

    hang: bool = False
    error: ApiError | None = None
    truncate: bool = False
    given_up: bool = False
    """By the engine, half-way."""
    kind: Kind = "normal"
    delay_seconds: float = 0.0


class Faults:
    """Decides the fate of requests from the settings, which may change at any time.

    The sequence of fates is the same for the same seed and settings.
    """

    def __init__(self, settings: Settings, *, seed: int, crash: Callable[[str], None]) -> None:
        """`crash` ends the process; its argument is the reason for the log."""
        self._seed = seed
        self._crash = crash
        self._requests_to_crash = settings.crash_after_requests
        self.settings = settings
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """From now on these settings. The random sequence starts again, so that a rehearsal can be repeated."""
        if settings.crash_after_requests != self.settings.crash_after_requests:
            self._requests_to_crash = settings.crash_after_requests
        self.settings = settings
        self._random = random.Random(settings.seed or self._seed)  # noqa: S311 - faults are no secret

    def next_fate(self, prompt_tokens: int) -> Fate:
        """The fate of a well-formed request whose longest prompt has so many tokens. It may end the process instead."""
        self._count_to_crash()
        settings = self.settings
        # All numbers are drawn for every request, so that one rate does not shift the others' victims.
        hang, error, truncate, wrong, foreign, given_up = (self._random.random() for _ in range(6))
        return Fate(
            hang=hang < settings.hang_rate,
            error=_error(settings, prompt_tokens, drawn=error),
            truncate=truncate < settings.truncate_rate,
            given_up=given_up < settings.engine_error_rate,
            kind=self._kind(wrong, foreign),
            delay_seconds=settings.extra_latency_ms / 1000,
        )

    def _kind(self, wrong: float, foreign: float) -> Kind:
        if foreign < self.settings.foreign_language_rate:
            return "foreign"
        return "wrong" if wrong < self.settings.wrong_answer_rate else "normal"

    def _count_to_crash(self) -> None:
        if self._requests_to_crash is None:
            return
        self._requests_to_crash -= 1
        if self._requests_to_crash <= 0:
            self._crash("crash-after-requests")


def _error(settings: Settings, prompt_tokens: int, *, drawn: float) -> ApiError | None:
    limit = settings.error_above_prompt_tokens
    if drawn < settings.error_rate:
        return _injected(settings.error_code, "error-rate")
    if limit is not None and prompt_tokens > limit:
        return _injected(settings.error_code, "error-above-prompt-tokens")
    return None


def _injected(status: int, setting: str) -> ApiError:
    messages = {
        429: "Rate limit reached. Please try again later.",
        503: "The server is overloaded or not ready yet.",
    }
    default = "Internal server error" if status >= 500 else "The request was refused"
    return ApiError(status, f"{messages.get(status, default)} (injected by {setting})")


class MemoryLeak:
    """Memory that is really taken, at a steady rate, until it is told to stop."""

    def __init__(self) -> None:
        self._held: list[bytearray] = []
        self._owed = 0.0

    @property
    def held_bytes(self) -> int:
        return sum(len(block) for block in self._held)

    def grow(self, megabytes_per_minute: float, seconds: float) -> None:
        """Take what is due after `seconds`; with a rate of 0, give everything back."""
        if not megabytes_per_minute:
            self._held.clear()
            self._owed = 0.0
            return
        self._owed += megabytes_per_minute * MEGABYTE * seconds / 60
        if self._owed >= MEGABYTE:
            # Written, not only reserved: untouched zero pages would not be resident.
            self._held.append(bytearray(b"\x01") * int(self._owed))
            self._owed = 0.0


LEAK_INTERVAL_SECONDS = 1.0


async def leak_memory(clock: Clock, faults: Faults, leak: MemoryLeak) -> None:
    """Let `leak` grow as the settings say, for ever."""
    last = clock.monotonic()
    while True:
        await clock.sleep(LEAK_INTERVAL_SECONDS)
        now = clock.monotonic()
        leak.grow(faults.settings.memory_growth_mb_per_minute, now - last)
        last = now
