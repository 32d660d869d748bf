"""Whether an object has to be applied: because what is wanted changed, or because somebody changed what was applied."""

from collections.abc import Mapping
from typing import Any

from outrider.api.labels import MODEL_VERSION, REVISION
from outrider.api.quantity import Quantity
from outrider.plan.deployment.observed import (
    BudgetView,
    ChildView,
    ExtraView,
    RouteView,
    ServiceView,
    WorkloadView,
)
from outrider.plan.deployment.render import Body, signature

NOT_THERE = "it does not exist"
CHANGED = "what is wanted has changed"


def workload(body: Body, seen: WorkloadView | None, *, rolled_out: str = "") -> str | None:
    """Why the Deployment has to be applied; None when it has not.

    `rolled_out` is the revision of which our last status said that it is. `kubectl rollout undo` brings back also the
    annotations that came with an older template, so only this tells an older one from one that is to be replaced.
    """
    why = _general(body, seen)
    if seen is not None and why is not None and rolled_out:
        old, new = _labels(seen.template), _labels(body["spec"]["template"])
        if new.get(REVISION) == rolled_out != old.get(REVISION):
            version = old.get(MODEL_VERSION) or "another template"
            return f"somebody went back to {version}, as `kubectl rollout undo` does; `outrider rollback` is what lasts"
    if why is not None or seen is None:
        return why
    spec = body["spec"]
    if seen.spec_replicas != spec["replicas"]:
        return f"somebody set replicas to {seen.spec_replicas} instead of {spec['replicas']}"
    if spec.get("paused", seen.paused) != seen.paused:
        return "somebody paused the rollout" if seen.paused else "somebody resumed the rollout"
    rolling = spec["strategy"].get("rollingUpdate")
    if rolling is not None and (seen.max_surge, seen.max_unavailable) != (
        rolling["maxSurge"],
        rolling["maxUnavailable"],
    ):
        return f"somebody set maxSurge to {seen.max_surge} and maxUnavailable to {seen.max_unavailable}"
    where = difference(spec["template"], seen.template)
    return f"somebody changed the pod template: {where}" if where else None


def service(body: Body, seen: ServiceView | None) -> str | None:
    why = _general(body, seen)
    if why is not None or seen is None:
        return why
    if seen.selector != body["spec"]["selector"]:
        return f"somebody changed the selector to {_pairs(seen.selector)}"
    return "somebody changed the ports" if seen.ports != _ports(body) else None


def leads_alike(body: Body, seen: ServiceView | None, revision: str) -> bool:
    """Whether the Service that there is leads to this revision's pods alone, or to all, and will as it is wanted: so
    long as no other pods serve, nobody's requests go elsewhere for the change.
    """
    if seen is None or (body["kind"], body["metadata"]["name"]) != ("Service", seen.name):
        return False
    wanted = body["spec"]["selector"]
    selectors = [{key: value for key, value in one.items() if key != REVISION} for one in (wanted, seen.selector)]
    chosen = {one.get(REVISION, revision) for one in (wanted, seen.selector)}
    return selectors[0] == selectors[1] and chosen == {revision} and seen.ports == _ports(body)


def _ports(service: Body) -> tuple[tuple[str, int, str], ...]:
    return tuple((port["name"], port["port"], str(port["targetPort"])) for port in service["spec"]["ports"])


def route(body: Body, seen: RouteView | None) -> str | None:
    why = _general(body, seen)
    if why is not None or seen is None:
        return why
    where = difference(body["spec"], seen.spec)
    return f"somebody changed {where}" if where else None


def whole(body: Body, seen: ExtraView | None) -> str | None:
    """Of an object that is compared as a whole, but for its metadata."""
    why = _general(body, seen)
    if why is not None or seen is None:
        return why
    where = difference({key: value for key, value in body.items() if key != "metadata"}, seen.content)
    return f"somebody changed {where}" if where else None


def budget(body: Body, seen: BudgetView | None) -> str | None:
    why = _general(body, seen)
    if why is not None or seen is None:
        return why
    spec = body["spec"]
    wanted = (spec.get("minAvailable"), spec.get("maxUnavailable"))
    policy = seen.unhealthy_pod_eviction_policy in (None, spec["unhealthyPodEvictionPolicy"])
    return None if policy and (seen.min_available, seen.max_unavailable) == wanted else "somebody changed the budget"


def _general(body: Body, seen: ChildView | None) -> str | None:
    if seen is None:
        return NOT_THERE
    return CHANGED if seen.applied_hash != signature(body) else None


def _labels(template: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = (template.get("metadata") or {}).get("labels") or {}
    return found


def _pairs(selector: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or "nothing"


def difference(wanted: Any, seen: Any, path: str = "") -> str | None:
    """The first path at which `seen` lacks or contradicts something of `wanted`; None when all of it is there.

    What the API server adds (defaults) does not count, nor how it writes a quantity, nor an empty value that it drops.
    A list counts as a whole: one entry more or less is a difference.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(seen, Mapping):
            return None if not wanted and seen is None else path or "."
        found = (difference(value, seen.get(key), f"{path}.{key}" if path else key) for key, value in wanted.items())
        return next((where for where in found if where), None)
    if isinstance(wanted, list | tuple):
        if not wanted and seen is None:
            return None
        if not isinstance(seen, list | tuple) or len(seen) != len(wanted):
            return path
        found = (
            difference(one, other, f"{path}[{at}]") for at, (one, other) in enumerate(zip(wanted, seen, strict=True))
        )
        return next((where for where in found if where), None)
    return None if _same(wanted, seen) else path


def _same(wanted: Any, seen: Any) -> bool:
    if wanted == seen or (seen is None and wanted in (None, "", 0, False)):
        return True
    if isinstance(wanted, bool) or isinstance(seen, bool) or wanted is None or seen is None:
        return False
    try:
        return Quantity.from_json(wanted) == Quantity.from_json(seen)
    except ValueError:
        return False
