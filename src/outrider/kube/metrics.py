"""Metrics of the controller runtime, under controller-runtime's names, so that existing dashboards and alerts work.

Names, labels and buckets: controller-runtime v0.24, `pkg/internal/controller/metrics`, `pkg/metrics/workqueue.go`,
`pkg/metrics/leaderelection.go`, and component-base's `metrics/prometheus/restclient` for the client.
Make one `RuntimeMetrics` per registry and hand it to every controller.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_RECONCILE_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75,
    2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
)  # fmt: skip
_QUEUE_BUCKETS = tuple(10e-9 * 10**power for power in range(12))
"""10 ns to 1,000 s by powers of ten."""


class RuntimeMetrics:
    """All metrics of queues, controllers, informers and events. The label `controller` is the controller's name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=registry)

        self.reconciles = counter(
            "controller_runtime_reconcile_total", "Reconciliations, by result.", "controller", "result"
        )
        self.errors = counter("controller_runtime_reconcile_errors_total", "Reconciliations that failed.", "controller")
        self.panics = counter(
            "controller_runtime_reconcile_panics_total",
            "Reconciliations that failed for no reason an API server gives: a defect.",
            "controller",
        )
        self.timeouts = counter(
            "controller_runtime_reconcile_timeouts_total", "Reconciliations cut off by the timeout.", "controller"
        )
        self.seconds = histogram(
            "controller_runtime_reconcile_time_seconds", "Length of reconciliations.", _RECONCILE_BUCKETS, "controller"
        )
        self.workers = gauge(
            "controller_runtime_max_concurrent_reconciles", "Most reconciliations at once.", "controller"
        )
        self.active = gauge("controller_runtime_active_workers", "Reconciliations now under way.", "controller")

        self.depth = gauge(
            "workqueue_depth", "Keys that wait and are due, by priority.", "name", "controller", "priority"
        )
        self.adds = counter("workqueue_adds_total", "Keys that became due.", "name", "controller")
        self.waits = histogram(
            "workqueue_queue_duration_seconds", "From due to taken up.", _QUEUE_BUCKETS, "name", "controller"
        )
        self.work = histogram(
            "workqueue_work_duration_seconds", "From taken up to done.", _QUEUE_BUCKETS, "name", "controller"
        )
        self.unfinished = gauge(
            "workqueue_unfinished_work_seconds",
            "Sum of the time that work in progress has taken.",
            "name",
            "controller",
        )
        self.longest = gauge(
            "workqueue_longest_running_processor_seconds", "Age of the oldest work in progress.", "name", "controller"
        )
        self.retries = counter("workqueue_retries_total", "Keys put back for later.", "name", "controller")

        self.cache_age = gauge(
            "outrider_informer_last_heard_seconds",
            "Seconds since the API server last said anything about a kind; beyond 70 s the cache is stale.",
            "kind",
        )
        self.cache_objects = gauge("outrider_informer_objects", "Objects in the cache.", "kind")
        self.undecodable = gauge("outrider_informer_undecodable_objects", "Objects that could not be read.", "kind")
        self.events_dropped = counter("outrider_events_dropped_total", "Events that were not recorded.", "reason")


_SIZE_BUCKETS = (64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
_REQUEST_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class ClientMetrics:
    """What requests to the API server come to."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "rest_client_requests_total",
            "Requests to the API server, by answer; <error> is none.",
            ("code", "method", "host"),
            registry=registry,
        )
        self._seconds = Histogram(
            "rest_client_request_duration_seconds",
            "From the request to the head of its answer.",
            ("verb", "host"),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )

        def sizes(name: str, text: str) -> Histogram:
            return Histogram(name, text, ("verb", "host"), buckets=_SIZE_BUCKETS, registry=registry)

        self._sent = sizes("rest_client_request_size_bytes", "Body of the request.")
        self._received = sizes("rest_client_response_size_bytes", "Body of the answer, uncompressed; not of watches.")
        self._watched = Counter(
            "outrider_watch_received_bytes", "What watches were told, uncompressed.", ("host",), registry=registry
        )

    def exchanged(self, method: str, host: str, sent: int, received: int) -> None:
        """Note how large the bodies of a request and of its answer were, in bytes."""
        self._sent.labels(method, host).observe(sent)
        self._received.labels(method, host).observe(received)

    def watched(self, host: str, received: int) -> None:
        """Note bytes that came over a watch."""
        self._watched.labels(host).inc(received)

    def answered(self, method: str, host: str, code: str, seconds: float) -> None:
        """Note one request; `code` is the HTTP status, or `<error>` where none came."""
        self._requests.labels(code, method, host).inc()
        self._seconds.labels(method, host).observe(seconds)
