"""What Outrider reads from a vLLM server's `/metrics`, by vLLM's own names (V1 engine, checked against 0.32).

HTTP errors are counted only by the web layer (`http_requests_total`); the engine does not know them. But that layer
counts the status with which an answer began: a stream that the engine gives up in its midst is a 200 to it, and only
the engine's own `finished_reason="error"` shows it. (Where the answer had not begun, vLLM makes a 500 of it: both count
that one.) Histograms count a request when it ends: hung and aborted ones are in `running`, not in them.
"""

import math
from collections.abc import Callable

import msgspec

from outrider.signals.histogram import Histogram, histogram_of
from outrider.signals.prometheus_text import Family, parse

REQUESTS = "http_requests_total"
GENERATION_TOKENS = "vllm:generation_tokens_total"
PROMPT_TOKENS = "vllm:prompt_tokens_total"
END_TO_END = "vllm:e2e_request_latency_seconds"
TTFT = "vllm:time_to_first_token_seconds"
ITL = "vllm:inter_token_latency_seconds"
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
KV_CACHE_USAGE = "vllm:kv_cache_usage_perc"
ENDINGS = "vllm:request_success_total"
PROCESS_START = "process_start_time_seconds"

FAMILIES = frozenset(
    {
        REQUESTS, GENERATION_TOKENS, PROMPT_TOKENS, END_TO_END, TTFT, ITL, RUNNING, WAITING, KV_CACHE_USAGE,
        ENDINGS, PROCESS_START,
    }
)  # fmt: skip

INFERENCE_PREFIX, NOT_INFERENCE = "/v1/", "/v1/models"
"""Requests to `/v1/...` but `/v1/models` are inference; the rest are probes, scrapes and people looking around."""


class ServerSample(msgspec.Struct, frozen=True):
    """One reading of one server. None: the page does not have it, which is not zero."""

    at: float
    """The reader's monotonic time, in seconds."""
    process_start: float | None = None
    """When the server's process started, by its own clock: a change means that all counters began anew."""
    requests: float | None = None
    errors_4xx: float | None = None
    errors_5xx: float | None = None
    given_up: float | None = None
    """Requests at which the engine failed; some of them are among `errors_5xx`, and nobody says which."""
    generation_tokens: float | None = None
    prompt_tokens: float | None = None
    end_to_end: Histogram | None = None
    """Seconds from arrival to the last token."""
    time_to_first_token: Histogram | None = None
    """Seconds."""
    inter_token_latency: Histogram | None = None
    """Seconds between two tokens of a request."""
    running: float | None = None
    waiting: float | None = None
    kv_cache_usage: float | None = None
    """0..1; of several engines in one server, the fullest."""


def restarted(before: ServerSample, after: ServerSample) -> bool:
    """Whether another process answers: its counters may have grown beyond the old ones already."""
    return None not in (before.process_start, after.process_start) and before.process_start != after.process_start


def read_server(text: str, at: float) -> ServerSample:
    """Read a `/metrics` page. Raises `PrometheusTextError`."""
    families = parse(text, FAMILIES)
    return ServerSample(
        at=at,
        process_start=_gauge(families.get(PROCESS_START)),
        requests=_requests(families.get(REQUESTS), ""),
        errors_4xx=_requests(families.get(REQUESTS), "4"),
        errors_5xx=_requests(families.get(REQUESTS), "5"),
        given_up=_given_up(families.get(ENDINGS)),
        generation_tokens=_counter(families.get(GENERATION_TOKENS)),
        prompt_tokens=_counter(families.get(PROMPT_TOKENS)),
        end_to_end=_histogram(families.get(END_TO_END)),
        time_to_first_token=_histogram(families.get(TTFT)),
        inter_token_latency=_histogram(families.get(ITL)),
        running=_gauge(families.get(RUNNING)),
        waiting=_gauge(families.get(WAITING)),
        kv_cache_usage=_gauge(families.get(KV_CACHE_USAGE), max),
    )


def _counter(family: Family | None) -> float | None:
    """The sum of all series. A counter that is announced but has no series yet has counted nothing."""
    return sum(sample.value for sample in family.samples) if family is not None else None


def _gauge(family: Family | None, combine: Callable[[list[float]], float] = sum) -> float | None:
    values = [sample.value for sample in family.samples if not math.isnan(sample.value)] if family is not None else []
    return combine(values) if values else None


def _histogram(family: Family | None) -> Histogram | None:
    return histogram_of(family) if family is not None else None


def _requests(family: Family | None, status: str) -> float | None:
    """Inference requests whose status (`2xx`, or `200`) begins so."""
    if family is None:
        return None
    return sum(
        sample.value
        for sample in family.samples
        if sample.labels.get("status", "").startswith(status) and _is_inference(sample.labels.get("handler", ""))
    )


def _given_up(family: Family | None) -> float | None:
    if family is None:
        return None
    return sum(sample.value for sample in family.samples if sample.labels.get("finished_reason") == "error")


def _is_inference(handler: str) -> bool:
    return handler.startswith(INFERENCE_PREFIX) and not handler.startswith(NOT_INFERENCE)
