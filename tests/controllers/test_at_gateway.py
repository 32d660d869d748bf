"""When what the Gateway counts says something about a version, and when it is left out."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from outrider.api.labels import REVISION
from outrider.api.llmdeployment import LLMDeploymentStatus, ReleaseStatus, TrafficStatus
from outrider.controllers.deployment.at_gateway import AtGateway, Taken
from outrider.kube.objects import Pod
from outrider.signals.outcomes import Counts

RELEASE = ReleaseStatus(revision="new", stable_revision="old")
SHARED = LLMDeploymentStatus(
    service_name="chat", traffic=TrafficStatus(revision="old", candidate="new", weight=20, service="chat-new")
)
MOVED = LLMDeploymentStatus(service_name="chat", traffic=TrafficStatus(revision="new"))
TICK = 5.0


class Pages:
    """What a reader of pages gives: each key has had so many attempts more at each look, and a tenth of them failed."""

    def __init__(self, keys: Collection[str]) -> None:
        self.keys = frozenset(keys)
        self.known = True
        self.times = 0

    def total(self, keys: Collection[str]) -> Counts | None:
        grown = 10 * self.times * len(self.keys & set(keys))
        return Counts(grown // 10, grown) if self.known else None

    def so_far(self, keys: Collection[str]) -> Counts | None:
        return self.total(keys)


def pod(name: str, *, ready: bool = True, ends: bool = False) -> Pod:
    body: dict[str, Any] = {
        "metadata": {"name": name, "uid": name, "labels": {REVISION: name.partition("-")[0]}},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }
    if ends:
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return msgspec.convert(body, Pod)


@dataclass(frozen=True)
class Look:
    """What is seen at one look at the service."""

    status: LLMDeploymentStatus = SHARED
    pods: tuple[Pod, ...] = (pod("new-0"), pod("new-1"), pod("old-0"), pod("old-1"))
    silent: frozenset[str] = frozenset()
    unreached: frozenset[str] = frozenset()
    read: bool = True


@dataclass(frozen=True)
class Case:
    looks: tuple[Look, ...]
    candidate: bool
    stable: bool
    keys: tuple[str, ...] = field(default=("production/chat/new", "production/chat/old"))


USUAL = Look()
TRAEFIK = ("production-chat", "production-chat-new")
CASES = {
    "nothing before the first look": Case((USUAL,), candidate=False, stable=False),
    "both versions, by revision": Case((USUAL, USUAL), candidate=True, stable=True),
    "both versions, by the Services that each has to itself": Case(
        (USUAL, USUAL), candidate=True, stable=True, keys=TRAEFIK
    ),
    "one Service for both versions says nothing of either": Case(
        (replace(USUAL, status=LLMDeploymentStatus(service_name="chat")),) * 2,
        candidate=False,
        stable=False,
        keys=TRAEFIK,
    ),
    "the Gateway cannot be read": Case((USUAL, USUAL, replace(USUAL, read=False)), candidate=False, stable=False),
    "it can be read again, and counts from there on": Case(
        (USUAL, USUAL, replace(USUAL, read=False), USUAL), candidate=False, stable=False
    ),
    "a pod of the candidate ends": Case(
        (USUAL, replace(USUAL, pods=(pod("new-0", ends=True), *USUAL.pods[1:]))), candidate=False, stable=True
    ),
    "it has ended two ticks ago": Case(
        (USUAL, replace(USUAL, pods=USUAL.pods[1:]), *(replace(USUAL, pods=USUAL.pods[1:]),) * 2),
        candidate=False,
        stable=True,
    ),
    "it has ended three ticks ago": Case(
        (USUAL, replace(USUAL, pods=USUAL.pods[1:]), *(replace(USUAL, pods=USUAL.pods[1:]),) * 3),
        candidate=True,
        stable=True,
    ),
    "a pod of the stable version ends, as in a rolling update": Case(
        (USUAL, replace(USUAL, pods=(*USUAL.pods[:3], pod("old-1", ends=True)))), candidate=True, stable=False
    ),
    "a pod of the candidate is not ready any more": Case(
        (USUAL, replace(USUAL, pods=(pod("new-0", ready=False), *USUAL.pods[1:]))), candidate=False, stable=True
    ),
    "a pod that becomes ready has nothing to do with it": Case(
        (replace(USUAL, pods=(pod("new-0", ready=False), *USUAL.pods[1:])), USUAL), candidate=True, stable=True
    ),
    "one pod of two does not answer Outrider either": Case(
        (USUAL, replace(USUAL, silent=frozenset({"new-0"}))), candidate=False, stable=True
    ),
    "no pod of the candidate answers, which is the version's": Case(
        (USUAL, replace(USUAL, silent=frozenset({"new-0", "new-1"}))), candidate=True, stable=True
    ),
    "no pod of the candidate can be reached, which may be its node's": Case(
        (USUAL, replace(USUAL, silent=frozenset({"new-0", "new-1"}), unreached=frozenset({"new-0", "new-1"}))),
        candidate=False,
        stable=True,
    ),
    "all traffic has just moved": Case((USUAL, USUAL, Look(MOVED), Look(MOVED)), candidate=False, stable=False),
    "all traffic has moved, and the plain Service is the candidate's": Case(
        (USUAL, *(Look(MOVED),) * 5), candidate=True, stable=False, keys=TRAEFIK
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_what_is_taken_of_the_last_look(sentence: str) -> None:
    case = CASES[sentence]
    pages = Pages(case.keys)
    door = AtGateway(pages, "production/chat", RELEASE)
    taken = Taken()
    for number, look in enumerate(case.looks):
        pages.times, pages.known = number, look.read
        door.look(look.status, look.pods, TICK * number, look.silent, look.unreached)
        taken = door.take(TICK * number)
    given = [counts if counts != Counts(0, 0) else None for counts in (taken.candidate, taken.stable)]
    assert given == [Counts(1, 10) if known else None for known in (case.candidate, case.stable)]


def test_without_a_reader_nothing_is_known() -> None:
    door = AtGateway(None, "production/chat", RELEASE)
    door.look(SHARED, (), 0.0)
    assert (door.read, door.take(0.0), door.stable_so_far()) == (False, Taken(), None)


def test_the_past_of_the_stable_version_is_known_where_the_gateway_counts_by_revision() -> None:
    by_revision, by_service = Pages(CASES["both versions, by revision"].keys), Pages(TRAEFIK)
    by_revision.times = by_service.times = 3
    assert AtGateway(by_revision, "production/chat", RELEASE).stable_so_far() == Counts(3, 30)
    assert AtGateway(by_service, "production/chat", RELEASE).stable_so_far() == Counts(0, 0)
