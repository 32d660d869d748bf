"""What the simulator can be told to do: how fast it is, and how it fails.

The same keys, in kebab-case, are read from the environment variable `OUTRIDER_SIMULATOR` (JSON) at start and from
`POST /admin/config` while it runs. vLLM's own flags stay vLLM's: see `flags`.
"""

import difflib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

ENVIRONMENT_VARIABLE = "OUTRIDER_SIMULATOR"

Rate = Annotated[float, Meta(ge=0, le=1)]
"""A probability, decided for each request on its own."""
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]

DEFAULT_LOAD_GIGABYTES_PER_SECOND = 16.0
"""16 GB/s makes an 8 billion parameter model in bfloat16 (16 GB) load in about one second: about ten times faster
than a local NVMe disk, so that nobody waits at a laptop. Set it to what your storage gives to rehearse real times."""
DEFAULT_GPU_MEMORY_GIGABYTES = 80.0
"""Of one GPU, as on NVIDIA's A100 and H100 80 GB."""


class SettingsError(ValueError):
    """A setting is unknown or has a value that makes no sense; the message says what is allowed."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Speed and faults. Every default means: as a healthy server."""

    load_seconds: NotNegative | None = None
    """Seconds from the start of the process until it listens; None: from the model's size."""
    load_gigabytes_per_second: Positive = DEFAULT_LOAD_GIGABYTES_PER_SECOND
    gpu_memory_gigabytes: Positive = DEFAULT_GPU_MEMORY_GIGABYTES
    """Memory of each GPU in 10^9 bytes, which bounds weights and KV cache."""
    time_to_first_token_ms: NotNegative | None = None
    """The part of the time to first token of an idle server that does not depend on the prompt's length;
    None: from the model's size."""
    inter_token_latency_ms: NotNegative | None = None
    """Milliseconds between two tokens of the only request of an idle server; None: from the model's size."""
    max_num_seqs: Annotated[int, Meta(ge=1)] | None = None
    """Overrides `--max-num-seqs`."""
    error_rate: Rate = 0.0
    error_code: Annotated[int, Meta(ge=400, le=599)] = 500
    """HTTP status of the errors that `error-rate` and `error-above-prompt-tokens` make."""
    error_above_prompt_tokens: Annotated[int, Meta(ge=0)] | None = None
    """Requests with a longer prompt, in tokens, fail with `error-code`: a fault that short probes do not see."""
    engine_error_rate: Rate = 0.0
    """Answers that the engine gives up half-way (`finished_reason="error"`): 500, or an error at the end of a stream
    whose status is 200, so that `http_requests_total` calls it good."""
    extra_latency_ms: NotNegative = 0.0
    """Added before anything of the answer is sent."""
    slow_token_factor: Annotated[float, Meta(ge=1)] = 1.0
    """Multiplies the time of every engine step."""
    hang_rate: Rate = 0.0
    """Requests that are accepted and never answered."""
    wedge: bool = False
    """The engine stands still: `/health` says 200, every request hangs, the gauges keep their last value."""
    truncate_rate: Rate = 0.0
    """Streamed answers whose connection ends in the middle, without `[DONE]`."""
    wrong_answer_rate: Rate = 0.0
    """Fluent answers that are wrong."""
    foreign_language_rate: Rate = 0.0
    """Answers in another language than the question's."""
    crash_after_seconds: NotNegative | None = None
    """The process ends with exit code 1 so long after it began to listen, or after it was told so."""
    crash_after_requests: Annotated[int, Meta(ge=1)] | None = None
    """The process ends with exit code 1 when this many more requests for an answer have arrived."""
    crash_on_start: bool = False
    """The process ends with exit code 1 while it loads."""
    memory_growth_mb_per_minute: NotNegative = 0.0
    """Really allocated and touched; given back when set to 0."""
    health_failure: bool = False
    """`/health` says 503, as vLLM does when its engine is dead."""
    metrics_failure: bool = False
    """`/metrics` says 503 while requests are answered as ever: nobody can tell how users fare."""
    seed: int = 0
    """Of everything random here; 0: the seed given by `--seed`."""


KEYS: tuple[str, ...] = tuple(field.encode_name for field in msgspec.structs.fields(Settings))
START_ONLY = frozenset({"load-seconds", "load-gigabytes-per-second", "gpu-memory-gigabytes", "crash-on-start"})
"""Keys that mean something only before the model has loaded."""


def as_dict(settings: Settings) -> dict[str, Any]:
    """All settings by key, as `GET /admin/config` shows them."""
    values: dict[str, Any] = msgspec.to_builtins(settings)
    return values


def merge(settings: Settings, changes: object) -> Settings:
    """`settings` with `changes` made: all of them or none. A null sets a key back to its default.

    Raises SettingsError if `changes` is no mapping, has an unknown key or a value that is not allowed.
    """
    if not isinstance(changes, dict):
        raise SettingsError(f"settings must be an object of keys and values, got {type(changes).__name__}")
    unknown = [str(key) for key in changes if key not in KEYS]
    if unknown:
        raise SettingsError("; ".join(_unknown_key(key) for key in sorted(unknown)))
    values = as_dict(settings) | changes
    try:
        return msgspec.convert({key: value for key, value in values.items() if value is not None}, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error).replace("`$.", "`")) from error


def merge_while_running(settings: Settings, changes: object) -> Settings:
    """As `merge`, and refuses to change what has no meaning any more once the model is loaded."""
    merged = merge(settings, changes)
    before, after = as_dict(settings), as_dict(merged)
    late = sorted(key for key in START_ONLY if before[key] != after[key])
    if late:
        raise SettingsError(
            f"{', '.join(late)} can only be set at start: set {ENVIRONMENT_VARIABLE} in the environment and restart"
        )
    return merged


def from_environment(text: str | None) -> Settings:
    """The settings in `OUTRIDER_SIMULATOR`'s value; the defaults where it is unset or empty. Raises SettingsError."""
    if not text or not text.strip():
        return Settings()
    try:
        changes = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise SettingsError(f"not JSON: {error}") from error
    return merge(Settings(), changes)


def _unknown_key(key: str) -> str:
    close = difflib.get_close_matches(key, KEYS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"allowed are {', '.join(KEYS)}"
    return f"unknown key {key!r}: {hint}"
