"""Whether the Gateway reaches the candidate of a release: what real requests through it say.

The operator reaches pods by their addresses, and users do not: a NetworkPolicy, a wrong port or mTLS may keep the
Gateway from a version that answers every probe. It is known where the candidate has a path of its own
(`render_routes`), and means something only as long as the service's own path answers: else the Gateway is away, or the
operator cannot get there, and that says nothing about the candidate.
"""

from typing import Literal

import msgspec

from outrider.api.llmdeployment import ReleaseStatus
from outrider.plan.deployment.facts import Facts

INTERVAL = 15.0
"""Seconds between two requests through the Gateway to each path, while it answers. What pods count of these is counted
as users' requests: nobody knows which pod got them."""
RETRY = 2.0
"""The same while it does not answer."""
TIMEOUT = 5.0
LATELY = 2 * INTERVAL + TIMEOUT
"""Seconds for which a good answer of the service's own path counts."""
ROUTE_SECONDS = 30.0
"""A route is in force some seconds after the Gateway took it (Traefik: 2 s); until then a path that never answered
means nothing."""
LASTING_FAILURES, LASTING_SECONDS = 3, 15.0
"""Failures in a row, over so many seconds, that are no hiccup."""

State = Literal["NotAsked", "GatewaySilent", "Awaited", "Answers", "Fails", "Unreachable"]


class Reach(msgspec.Struct, frozen=True):
    """What is known of the way from the Gateway to the candidate."""

    state: State
    """NotAsked, GatewaySilent: nothing is known. Fails: just now, which may be a hiccup. Unreachable: it lasts, while
    everything else answers."""
    message: str = ""


def reach(facts: Facts, release: ReleaseStatus) -> Reach:
    """What is known now of the candidate of this release."""
    view = facts.snapshot.front_door
    if view is None or view.revision != release.revision or release.phase != "Watching":
        return Reach("NotAsked")
    if view.service_answered is None and not view.service_error:
        return Reach("Awaited")  # for as long as a request may take: an operator that has just started knows nothing
    if view.service_answered is None or facts.now - view.service_answered > LATELY:
        return Reach("GatewaySilent" if view.service_error else "NotAsked", view.service_error)
    if not view.asked:
        return Reach("NotAsked" if view.answered else "Awaited")
    if not view.error:
        return Reach("Answers")
    if not view.failures or view.failing_since is None:
        return Reach("Awaited", view.error)
    lasts = view.failures >= LASTING_FAILURES and facts.now - view.failing_since >= LASTING_SECONDS
    # A service that answered before that only may have gone with it.
    if lasts and view.service_answered >= view.failing_since and _pods_answer(facts, release):
        return Reach("Unreachable", view.error)
    return Reach("Fails", view.error)


def awaited(facts: Facts, release: ReleaseStatus) -> str:
    """What a step that gives the candidate traffic waits for; empty where it need not."""
    found = reach(facts, release)
    if found.state == "Awaited":
        return "the Gateway to lead to it"
    return f"the Gateway to reach it: {found.message}" if found.state in ("Fails", "Unreachable") else ""


def unreachable(facts: Facts, release: ReleaseStatus) -> str:
    """That the Gateway cannot reach the candidate, in a sentence; empty where that is not so, or not known."""
    found, view = reach(facts, release), facts.snapshot.front_door
    if found.state != "Unreachable" or view is None:
        return ""
    return (
        f"The Gateway cannot reach {release.version}, whose pods answer when they are asked directly: requests to "
        f"{view.url} fail ({found.message}), and those to the service are answered"
    )


def _pods_answer(facts: Facts, release: ReleaseStatus) -> bool:
    """Whether each ready pod of the candidate answered a request that was sent to itself a moment ago."""
    ready = [pod for pod in facts.snapshot.pods if pod.ready and pod.revision == release.revision]
    fresh = facts.snapshot.config.probe_freshness
    return bool(ready) and all(
        pod.probe is not None and pod.probe.ok and facts.now - pod.probe.at <= fresh for pod in ready
    )
