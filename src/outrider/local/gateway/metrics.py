"""What the gateway counts, per deployment, revision and version: what clients saw, which no pod can know."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from outrider.local.gateway.routes import Identity

LATENCY_BUCKETS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
"""Seconds: those of vLLM's `vllm:e2e_request_latency_seconds`, so that both can be compared."""
FIRST_CHUNK_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
"""Seconds: those of vLLM's `vllm:time_to_first_token_seconds`."""
MAXIMUM_IDENTITIES = 128
"""Label sets that are kept, so that memory and page stay bounded: for a new one the one goes that was asked least
recently, as old revisions are. Where all have requests in flight it is counted as `other`."""
CLIENT_CLOSED_REQUEST = "499"
"""The code under which a request is counted that its client gave up (nginx's convention)."""

_LABELS = ("namespace", "deployment", "revision", "version")
_OTHER = Identity("other", "other", "other", "other")


class Series:
    """The series of one deployment's one revision; its children are looked up once."""

    def __init__(self, metrics: "GatewayMetrics", labels: tuple[str, ...], *, probe: bool) -> None:
        self._metrics = metrics
        self._requests = metrics.probe_requests if probe else metrics.requests
        self._labels = labels
        self._by_code: dict[str, Counter] = {}
        self._probe = probe
        self.held = 0
        """Requests that `begin` counted, and `end` has not."""
        if not probe:
            self._in_flight = metrics.in_flight.labels(*labels)
            self._duration = metrics.duration.labels(*labels)
            self._first_chunk = metrics.first_chunk.labels(*labels)
            self._broken = metrics.broken_streams.labels(*labels)
            self._not_sent = metrics.connection_failures.labels(*labels)
            self._unanswered = metrics.unanswered.labels(*labels)

    def begin(self) -> None:
        self.held += 1
        if not self._probe:
            self._in_flight.inc()

    def end(self, code: str | None, seconds: float) -> None:
        """A request that `begin` counted is over: the code that its client saw, 499, or None: it goes elsewhere."""
        self.held -= 1
        if not self._probe:
            self._in_flight.dec()
            if code is not None:
                self._duration.observe(seconds)
        if code is None:
            return
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._requests.labels(*self._labels, code)
        counter.inc()

    def first_chunk(self, seconds: float) -> None:
        """A streamed answer began so many seconds after its request."""
        if not self._probe:
            self._first_chunk.observe(seconds)

    def not_sent(self) -> None:
        """A pod took no connection: the request goes elsewhere, or is refused."""
        if not self._probe:
            self._not_sent.inc()

    def unanswered(self) -> None:
        """A pod got the request, at least in part, and ended the connection without an answer."""
        if not self._probe:
            self._unanswered.inc()

    def broken(self) -> None:
        """An answer that had begun was cut off by the pod."""
        if not self._probe:
            self._broken.inc()

    def remove(self) -> None:
        """Take it out of the registry."""
        for code in self._by_code:
            self._requests.remove(*self._labels, code)
        if not self._probe:
            for family in self._metrics.by_revision:
                family.remove(*self._labels)


class GatewayMetrics:
    """The gateway's own registry. Outrider's probes are counted apart, and only by code."""

    def __init__(self, *, maximum_identities: int = MAXIMUM_IDENTITIES) -> None:
        self._maximum = maximum_identities
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests by the status code that the client saw; 499: it gave up.")
        self.probe_requests = self._counter("probe_requests", "Outrider's own synthetic requests, by status code.")
        self.broken_streams = Counter(
            "outrider_gateway_broken_streams",
            "Answers that had begun and were cut off by the pod.",
            _LABELS,
            registry=self.registry,
        )
        self.connection_failures = Counter(
            "outrider_gateway_connection_failures",
            "Attempts to send a request to a pod that took no connection; the request went elsewhere, or got 503.",
            _LABELS,
            registry=self.registry,
        )
        self.unanswered = Counter(
            "outrider_gateway_unanswered_requests",
            "Requests that were sent to a pod and got no answer: code 502.",
            _LABELS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "outrider_gateway_in_flight_requests",
            "Requests that have come and are not yet answered in full.",
            _LABELS,
            registry=self.registry,
        )
        self.duration = Histogram(
            "outrider_gateway_request_duration_seconds",
            "From a request's headers to the end of its answer; for streams the whole stream.",
            _LABELS,
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.first_chunk = Histogram(
            "outrider_gateway_time_to_first_chunk_seconds",
            "From a request's headers to the first chunk of a streamed answer (text/event-stream).",
            _LABELS,
            buckets=FIRST_CHUNK_BUCKETS,
            registry=self.registry,
        )
        self.by_revision = (
            self.broken_streams, self.connection_failures, self.unanswered,
            self.in_flight, self.duration, self.first_chunk,
        )  # fmt: skip
        """Those without a code among their labels, which probes have no part in."""
        self._series: dict[tuple[Identity, bool], Series] = {}
        """The one that was asked most recently is last."""

    def series(self, identity: Identity, *, probe: bool = False) -> Series:
        """Where requests of this identity are counted."""
        key = (identity, probe)
        found = self._series.pop(key, None)
        if found is None:
            if len(self._series) >= self._maximum and identity != _OTHER and not self._made_room():
                return self.series(_OTHER, probe=probe)
            labels = (identity.namespace, identity.deployment, identity.revision, identity.version)
            found = Series(self, labels, probe=probe)
        self._series[key] = found
        return found

    def _made_room(self) -> bool:
        """Forget the series that was asked least recently. False where all have requests in flight."""
        for key, series in self._series.items():
            if not series.held and key[0] != _OTHER:
                series.remove()
                del self._series[key]
                return True
        return False

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str) -> Counter:
        return Counter(f"outrider_gateway_{name}", help_text, (*_LABELS, "code"), registry=self.registry)
