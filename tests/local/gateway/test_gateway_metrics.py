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


def test_more_revisions_than_can_be_told_apart_are_counted_together() -> None:
    metrics = GatewayMetrics(maximum_identities=2)
    for number in range(5):
        series = metrics.series(Identity("production", "chat", f"rev-{number}", "v1"))
        series.begin()
        series.end("200", 0.1)
    assert values(metrics.registry, "requests_total") == {"rev-0": 1, "rev-1": 1, "other": 3}


def test_a_request_that_goes_elsewhere_is_in_flight_no_longer_and_not_counted() -> None:
    metrics = GatewayMetrics()
    series = metrics.series(Identity("production", "chat", "rev", "v1"))
    series.begin()
    assert values(metrics.registry, "in_flight_requests") == {"rev": 1}
    series.end(None, 0.1)
    assert values(metrics.registry, "in_flight_requests") == {"rev": 0}
    assert values(metrics.registry, "requests_total") == {}
    assert values(metrics.registry, "request_duration_seconds_count") == {"rev": 0}
