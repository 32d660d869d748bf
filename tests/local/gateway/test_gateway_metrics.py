"""What the gateway counts stays bounded, and requests that go elsewhere are not counted twice."""

from prometheus_client import CollectorRegistry

from outrider.local.gateway.metrics import GatewayMetrics
from outrider.local.gateway.routes import Identity


def values(registry: CollectorRegistry, name: str) -> dict[str, float]:
    """A metric's values by revision."""
    return {
        sample.labels["revision"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == f"outrider_gateway_{name}"
    }


def asked(metrics: GatewayMetrics, revision: str, *, probe: bool = False) -> None:
    series = metrics.series(Identity("production", "chat", revision, "v1"), probe=probe)
    series.begin()
    series.end("200", 0.1)


def test_the_revision_that_was_asked_least_recently_makes_room_for_a_new_one() -> None:
    metrics = GatewayMetrics(maximum_identities=3)
    for revision in ("rev-0", "rev-1", "rev-2", "rev-0", "rev-3"):
        asked(metrics, revision)
    assert values(metrics.registry, "requests_total") == {"rev-0": 2, "rev-2": 1, "rev-3": 1}
    for name in ("in_flight_requests", "request_duration_seconds_count", "broken_streams_total"):
        assert set(values(metrics.registry, name)) == {"rev-0", "rev-2", "rev-3"}
    asked(metrics, "rev-1")
    assert values(metrics.registry, "requests_total")["rev-1"] == 1, "it is counted anew, as after a restart"
    asked(metrics, "rev-4", probe=True)
    asked(metrics, "rev-5")
    asked(metrics, "rev-6")
    asked(metrics, "rev-7")
    assert values(metrics.registry, "probe_requests_total") == {}


def test_what_has_requests_in_flight_stays_and_what_finds_no_room_is_counted_together() -> None:
    metrics = GatewayMetrics(maximum_identities=2)
    held = [metrics.series(Identity("production", "chat", f"rev-{number}", "v1")) for number in range(2)]
    for series in held:
        series.begin()
    for number in range(2, 5):
        asked(metrics, f"rev-{number}")
    assert values(metrics.registry, "requests_total") == {"other": 3}
    for series in held:
        series.end("200", 0.1)
    asked(metrics, "rev-5")
    assert values(metrics.registry, "requests_total") == {"rev-1": 1, "other": 3, "rev-5": 1}


def test_a_request_that_goes_elsewhere_is_in_flight_no_longer_and_not_counted() -> None:
    metrics = GatewayMetrics()
    series = metrics.series(Identity("production", "chat", "rev", "v1"))
    series.begin()
    assert values(metrics.registry, "in_flight_requests") == {"rev": 1}
    series.end(None, 0.1)
    assert values(metrics.registry, "in_flight_requests") == {"rev": 0}
    assert values(metrics.registry, "requests_total") == {}
    assert values(metrics.registry, "request_duration_seconds_count") == {"rev": 0}
