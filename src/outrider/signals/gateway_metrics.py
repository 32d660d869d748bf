"""What the local gateway counts for each revision: what clients saw, which no pod knows.

A stream that was cut is a good answer for the pod that began it, and a pod that takes no connection counts nothing.
Outrider's probes are not in these series: the gateway counts them apart.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from outrider.signals.outcomes import Counts
from outrider.signals.prometheus_text import Family, Sample, parse

REQUESTS = "outrider_gateway_requests_total"
BROKEN_STREAMS = "outrider_gateway_broken_streams_total"
CONNECTION_FAILURES = "outrider_gateway_connection_failures_total"
IN_FLIGHT = "outrider_gateway_in_flight_requests"
CREATED = "outrider_gateway_broken_streams_created"

FAMILIES = frozenset({REQUESTS, BROKEN_STREAMS, CONNECTION_FAILURES, IN_FLIGHT, CREATED})
CLIENT_CLOSED_REQUEST = "499"
"""The code of a request that its client gave up (nginx's convention): neither good nor bad, for nobody knows why."""

GatewayIndicator = Literal["errors", "rejections", "connections"]
"""`errors`: 5xx and answers that were cut off, of all that ended but 4xx. `rejections`: 4xx, of all that ended.
`connections`: attempts to send a request to a pod that took no connection, of all attempts. The request then went
elsewhere, so that a revision whose pods take none would show no error at all; or its client got 503, an error too."""

GatewayOutcomes = Mapping[GatewayIndicator, Counts]
"""What is not known is absent, and never zero."""


class RevisionKey(msgspec.Struct, frozen=True):
    """Whose series these are. `revision` is empty where no revision was asked: no route, or no pod that was ready."""

    namespace: str
    deployment: str
    revision: str


class RevisionSample(msgspec.Struct, frozen=True):
    """One reading of one revision's series, since the gateway started. None: the page does not have it."""

    began: float | None = None
    """When the counting began, in Unix time: a change means that the gateway was restarted."""
    good: int | None = None
    """Requests by the code that their clients saw, but 4xx and 5xx."""
    refused: int | None = None
    """4xx, without those whose clients gave up."""
    failed: int | None = None
    """5xx."""
    gave_up: int | None = None
    broken_streams: int | None = None
    """Answers that had begun and were cut off by the pod. They are also among the others, mostly the good ones."""
    connection_failures: int | None = None
    in_flight: int | None = None
    """Requests that have come and are not yet answered in full. Long streams are among them, so that no number of these
    says that something hangs."""


class GatewayPage(msgspec.Struct, frozen=True):
    """One reading of one gateway."""

    at: float
    """The reader's monotonic time, in seconds."""
    revisions: Mapping[RevisionKey, RevisionSample]


def read_gateway(text: str, at: float) -> GatewayPage:
    """Read a gateway's metrics page. Raises `PrometheusTextError`."""
    families = parse(text, FAMILIES)
    series: dict[RevisionKey, dict[str, list[Sample]]] = {}
    for family in families.values():
        for sample in family.samples:
            key = RevisionKey(*(sample.labels.get(label, "") for label in ("namespace", "deployment", "revision")))
            series.setdefault(key, {}).setdefault(family.name, []).append(sample)
    return GatewayPage(at, {key: _revision(families, found) for key, found in series.items()})


def between(before: GatewayPage, after: GatewayPage) -> dict[RevisionKey, GatewayOutcomes]:
    """What one gateway counted for each revision from one reading to the next.

    A revision that is new on the page had not been asked before: it gives all. So does every one after a restart of the
    gateway, and a counter that fell.
    """
    return {key: _grown(before.revisions.get(key), sample) for key, sample in after.revisions.items()}


def _revision(families: Mapping[str, Family], series: Mapping[str, list[Sample]]) -> RevisionSample:
    def total(name: str) -> int | None:
        return round(sum(sample.value for sample in series.get(name, ()))) if name in families else None

    def requests(first: str) -> int | None:
        if REQUESTS not in families:
            return None
        found = (sample for sample in series.get(REQUESTS, ()) if _class_of(sample.labels.get("code", "")) == first)
        return round(sum(sample.value for sample in found))

    return RevisionSample(
        began=min((sample.value for sample in series.get(CREATED, ())), default=None),
        good=requests("good"),
        refused=requests("refused"),
        failed=requests("failed"),
        gave_up=requests("gave up"),
        broken_streams=total(BROKEN_STREAMS),
        connection_failures=total(CONNECTION_FAILURES),
        in_flight=total(IN_FLIGHT),
    )


def _class_of(code: str) -> str:
    if code == CLIENT_CLOSED_REQUEST:
        return "gave up"
    return {"4": "refused", "5": "failed"}.get(code[:1], "good")


def _grown(before: RevisionSample | None, after: RevisionSample) -> GatewayOutcomes:
    then, now = _counters(before) if before is not None else None, _counters(after)
    anew = before is not None and None not in (before.began, after.began) and before.began != after.began
    if then is not None and not anew:
        now = _since(then, now)
    outcomes: dict[GatewayIndicator, Counts] = {}
    good, refused, failed, gave_up, broken, not_connected = now
    if good is None or refused is None or failed is None or gave_up is None:
        return outcomes
    outcomes["errors"] = Counts(min(failed + (broken or 0), good + failed), good + failed)
    outcomes["rejections"] = Counts(refused, good + refused + failed)
    if not_connected is not None:
        outcomes["connections"] = Counts(not_connected, not_connected + good + refused + failed + gave_up)
    return outcomes


_Counters = tuple[int | None, ...]


def _counters(sample: RevisionSample) -> _Counters:
    return (
        sample.good,
        sample.refused,
        sample.failed,
        sample.gave_up,
        sample.broken_streams,
        sample.connection_failures,
    )


def _since(then: _Counters, now: _Counters) -> _Counters:
    """What each counter grew by; all of each where any fell, for then the gateway began anew."""
    pairs = list(zip(then, now, strict=True))
    if any(old is not None and new is not None and new < old for old, new in pairs):
        return now
    return tuple(new - old if old is not None and new is not None else None for old, new in pairs)
