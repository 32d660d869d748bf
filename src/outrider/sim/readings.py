"""What single objects of the store say, as far as `Truth` and the promises go by it."""

from typing import Any

from outrider.api import labels
from outrider.api.names import service_name
from outrider.kube.api import Object


def on_steps(status: Object) -> Object | None:
    """The release that the status tells of, if it is on its steps."""
    found: Object = status.get("release") or {}
    if found.get("phase") != "Watching" or found.get("stage") not in ("Canary", "Preview"):
        return None
    under_way = found["revision"] == status.get("effectiveRevision") and found.get("step", 0) < len(found["steps"])
    return found if under_way else None


def shares_of(route: Object) -> dict[str, int]:
    """Revision to the percent of the requests that a route gives it, beside what the Service selects."""
    return {one["name"].rpartition("-")[2]: one["weight"] for one in route["spec"]["rules"][0]["backendRefs"][1:]}


def rejection(obj: Object) -> dict[str, Any] | None:
    """Why a ModelRevision object was taken back by itself; None where it was not."""
    found: dict[str, Any] | None = (obj.get("status") or {}).get("rejection")
    return found


def is_unschedulable(obj: Object) -> bool:
    """Whether the scheduler has found no node for a pod object."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return any((one["type"], one["status"]) == ("PodScheduled", "False") for one in found)


def is_shut(obj: Object) -> bool:
    """Whether the operator took a pod object out of those that take requests, because its revision was taken back."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return any((one["type"], one.get("reason")) == (labels.ANSWERS_REQUESTS, "RolledBack") for one in found)


def is_of_drill(obj: Object) -> bool:
    """Whether it is a drill's: a Deployment or a pod."""
    return labels.DRILL_OF in (obj["metadata"].get("labels") or {})


def served_by(obj: Object) -> str:
    """The LLMDeployment to whose Service the EndpointSlice object belongs; empty for those of candidates and others."""
    found: dict[str, str] = obj["metadata"].get("labels") or {}
    name = found.get(labels.DEPLOYMENT, "")
    return name if found.get("kubernetes.io/service-name") == service_name(name) else ""


def takers(obj: Object) -> int:
    """How many endpoints of an EndpointSlice object take requests."""
    return sum(1 for one in obj.get("endpoints") or () if (one.get("conditions") or {}).get("ready"))
