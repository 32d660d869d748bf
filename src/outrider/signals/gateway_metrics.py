"""What a gateway counts for each version: attempts to have it answer, and those that failed so that no pod knows.

A stream that was cut is a good answer for the pod that began it, and a pod that takes no connection counts nothing.
Two gateways' pages are known, and told apart by their families:

* **Outrider's own** counts by revision: attempts that found no connection, requests that were sent and not answered,
  and answers that broke off. Outrider's probes are not in these series, and 5xx of the pods are not among the failures.
* **Traefik** counts by Service: 502 (no connection, or none left before the answer) and 504 are its own answers. Those
  of a pod could not be told apart; vLLM gives neither. An answer that broke off is in none of its series.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from outrider.signals.outcomes import Counts
from outrider.signals.prometheus_text import Family, parse

REQUESTS: Final = "outrider_gateway_requests_total"
BROKEN_STREAMS: Final = "outrider_gateway_broken_streams_total"
CONNECTION_FAILURES: Final = "outrider_gateway_connection_failures_total"
UNANSWERED: Final = "outrider_gateway_unanswered_requests_total"
CREATED: Final = "outrider_gateway_broken_streams_created"
_OWN = frozenset({REQUESTS, BROKEN_STREAMS, CONNECTION_FAILURES, UNANSWERED})

TRAEFIK_REQUESTS: Final = "traefik_service_requests_total"
TRAEFIK_RELOADS: Final = "traefik_config_reloads_total"
"""Traefik has it from its start; the other one only once somebody has asked for something."""
PROCESS_START: Final = "process_start_time_seconds"
_PROVIDER: Final = "@kubernetesgateway"
_BEFORE_SERVICE: Final = "-svc-"

FAMILIES = _OWN | {CREATED, TRAEFIK_REQUESTS, TRAEFIK_RELOADS, PROCESS_START}
CLIENT_CLOSED_REQUEST: Final = "499"
"""The code of a request that its client gave up (nginx's convention): neither good nor bad, for nobody knows why."""
GATEWAY_CODES: Final = frozenset({"502", "504"})
"""Traefik's own answers for a server that cannot be reached, or does not answer."""


class UnknownGatewayError(ValueError):
    """The page is of no gateway that is known here."""


class VersionSample(msgspec.Struct, frozen=True):
    """One reading of one version's counters, since the gateway started."""

    attempts: int
    """Requests, and attempts to send one that went elsewhere; without those whose clients gave up."""
    failed: int
    """Of these, those that found no pod, got no answer from it, or whose answer broke off."""
    began: float | None = None
    """When the counting began, in Unix time: a change means that the gateway was restarted."""


class GatewayPage(msgspec.Struct, frozen=True):
    """One reading of one gateway."""

    at: float
    """The reader's monotonic time, in seconds."""
    versions: Mapping[str, VersionSample]
    """By `revision_key` or `service_key`."""


def revision_key(namespace: str, deployment: str, revision: str) -> str:
    """Whose counters these are on a page of our own gateway."""
    return f"{namespace}/{deployment}/{revision}"


def service_key(namespace: str, service: str) -> str:
    """Whose counters these are on a page of Traefik, which joins both names by a dash, as dashes are in them."""
    return f"{namespace}-{service}"


def read_gateway(text: str, at: float) -> GatewayPage:
    """Read a gateway's metrics page.

    Raises:
        PrometheusTextError: a line of it cannot be read.
        UnknownGatewayError: it is of another gateway.
    """
    families = parse(text, FAMILIES)
    if families.keys() >= _OWN:
        return GatewayPage(at, _own(families))
    if TRAEFIK_RELOADS in families or TRAEFIK_REQUESTS in families:
        return GatewayPage(at, _traefik(families))
    raise UnknownGatewayError("it has neither the counters of Outrider's gateway nor those of Traefik")


def between(before: VersionSample | None, after: VersionSample) -> Counts:
    """What one gateway counted for a version from one reading to the next: attempts, and how many of them failed.

    A version that is new on the page had not been asked before: it gives all. So does every one after a restart of the
    gateway, and a counter that fell.
    """
    attempts, failed = after.attempts, after.failed
    if before is not None and not _restarted(before, after):
        attempts, failed = attempts - before.attempts, failed - before.failed
    return Counts(min(failed, attempts), attempts)


def _restarted(before: VersionSample, after: VersionSample) -> bool:
    anew = None not in (before.began, after.began) and before.began != after.began
    return anew or after.attempts < before.attempts or after.failed < before.failed


class _Tally:
    """What the lines of one version add up to."""

    def __init__(self, began: float | None = None) -> None:
        self.attempts = self.failed = 0.0
        self.began = began

    def sample(self) -> VersionSample:
        return VersionSample(round(self.attempts), round(self.failed), self.began)


def _own(families: Mapping[str, Family]) -> dict[str, VersionSample]:
    tallies: dict[str, _Tally] = {}
    for family in families.values():
        for sample in family.samples:
            labels = sample.labels
            if not labels.get("revision"):
                continue  # no pod was asked
            key = revision_key(labels.get("namespace", ""), labels.get("deployment", ""), labels["revision"])
            tally = tallies.setdefault(key, _Tally())
            match family.name:
                case "outrider_gateway_requests_total" if labels.get("code") != CLIENT_CLOSED_REQUEST:
                    tally.attempts += sample.value
                case "outrider_gateway_connection_failures_total":
                    tally.attempts += sample.value
                    tally.failed += sample.value
                case "outrider_gateway_unanswered_requests_total" | "outrider_gateway_broken_streams_total":
                    tally.failed += sample.value
                case "outrider_gateway_broken_streams_created":
                    tally.began = sample.value if tally.began is None else min(tally.began, sample.value)
                case _:
                    pass
    return {key: tally.sample() for key, tally in tallies.items()}


def _traefik(families: Mapping[str, Family]) -> dict[str, VersionSample]:
    started = families.get(PROCESS_START)
    began = started.samples[0].value if started is not None and started.samples else None
    tallies: dict[str, _Tally] = {}
    requests = families.get(TRAEFIK_REQUESTS)
    for sample in requests.samples if requests is not None else ():
        code = sample.labels.get("code", "")
        if code == CLIENT_CLOSED_REQUEST:
            continue
        for key in _services_of(sample.labels.get("service", "")):
            tally = tallies.setdefault(key, _Tally(began))
            tally.attempts += sample.value
            tally.failed += sample.value if code in GATEWAY_CODES else 0
    return {key: tally.sample() for key, tally in tallies.items()}


def _services_of(label: str) -> list[str]:
    """`httproute-NAMESPACE-ROUTE-gw-...-svc-NAMESPACE-SERVICE-INDEX@kubernetesgateway` means the key of that Service.

    A name may have `-svc-` in it: then every reading of the label is given, and one of them is right. The label of a
    whole rule (`...-wrr`), which is that of requests for which no pod was there, means none.
    """
    text, provider, rest = label.partition(_PROVIDER)
    name, _, index = text.rpartition("-")
    if not provider or rest or not index.isdecimal() or not name.startswith("httproute-"):
        return []
    parts = name.split(_BEFORE_SERVICE)
    return [_BEFORE_SERVICE.join(parts[start:]) for start in range(1, len(parts))]
