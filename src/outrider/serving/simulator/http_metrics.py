"""HTTP metrics as vLLM's instrumentator (prometheus-fastapi-instrumentator) keeps them.

This is the only place where vLLM counts its errors: its engine metrics know successes alone.
"""

import math

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary

EXCLUDED = frozenset({"/metrics", "/health", "/ping", "/version", "/load", "/server_info"})
"""Handlers that vLLM does not count."""
NO_HANDLER = "none"
"""The handler of a path that no route matches."""

_FINE = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0,
)  # fmt: skip


class HttpMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "http_requests",
            "Total number of requests by method, status and handler.",
            ("method", "status", "handler"),
            registry=registry,
        )
        self._request_bytes = self._size("request", "incoming requests", registry)
        self._response_bytes = self._size("response", "outgoing responses", registry)
        self._fine = Histogram(
            "http_request_duration_highr_seconds",
            "Latency with many buckets but no API specific labels. Made for more accurate percentile calculations. ",
            buckets=(*_FINE, math.inf),
            registry=registry,
        )
        self._coarse = Histogram(
            "http_request_duration_seconds",
            "Latency with only few buckets by handler. Made to be only used if aggregation by handler is important. ",
            ("method", "handler"),
            buckets=(0.1, 0.5, 1.0, math.inf),
            registry=registry,
        )

    def observe(
        self, *, handler: str, method: str, status: int, seconds: float, request_bytes: int, response_bytes: int
    ) -> None:
        """One answered request. `seconds` lasts until the end of the body. Sizes are 0 where no length was declared."""
        self._requests.labels(method, f"{status // 100}xx", handler).inc()
        self._request_bytes.labels(handler).observe(request_bytes)
        self._response_bytes.labels(handler).observe(response_bytes)
        self._fine.observe(seconds)
        self._coarse.labels(method, handler).observe(seconds)

    @staticmethod
    def _size(side: str, what: str, registry: CollectorRegistry) -> Summary:
        text = f"Content length of {what} by handler. Only value of header is respected. Otherwise ignored. "
        return Summary(f"http_{side}_size_bytes", f"{text}No percentile calculated. ", ("handler",), registry=registry)
