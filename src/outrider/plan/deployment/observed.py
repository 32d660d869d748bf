"""The objects that Outrider wrote, as they are observed: enough to see whether they still are what was wanted."""

from typing import Any

import msgspec

from outrider.api.labels import REVISION
from outrider.api.meta import Condition, Instant

APPLIED_HASH = "inference.llm-d.io/applied-hash"
"""Annotation with the hash of the whole body that was applied last. It spares writes; it is not state: an object
that has lost it is applied once more, to the same effect."""


class ChildView(msgspec.Struct, frozen=True):
    uid: str = ""
    applied_hash: str = ""
    owned: bool = True
    """Whether this LLMDeployment is its controller, so that it may be written to."""


class WorkloadView(ChildView, frozen=True):
    """A Deployment."""

    name: str = ""
    generation: int = 0
    observed_generation: int = 0
    spec_replicas: int = 0
    paused: bool = False
    template: dict[str, Any] = {}
    max_surge: int | str | None = None
    max_unavailable: int | str | None = None
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    """Of the pods that its ReplicaSets are asked to have, there or not, those that are not available."""
    conditions: tuple[Condition, ...] = ()

    @property
    def is_observed(self) -> bool:
        """Whether the Deployment's controller has seen the last change of its spec."""
        return self.observed_generation >= self.generation

    @property
    def revision(self) -> str:
        """Of the pods that it makes; empty where its template says none."""
        return str(((self.template.get("metadata") or {}).get("labels") or {}).get(REVISION, ""))


class ServiceView(ChildView, frozen=True):
    name: str = ""
    selector: dict[str, str] = {}
    ports: tuple[tuple[str, int, str], ...] = ()
    """(name, port, target port)"""


class ParentView(msgspec.Struct, frozen=True):
    """What the controller of one Gateway says about a route."""

    name: str
    namespace: str = ""
    """Empty: the route's own."""
    conditions: tuple[Condition, ...] = ()


class FrontDoorView(msgspec.Struct, frozen=True):
    """What the operator's own requests through the Gateway said: to the service, and to the candidate of a release by
    the path that it has to itself.
    """

    revision: str
    """The candidate's."""
    url: str
    """The candidate's path, as people see it."""
    service_answered: Instant | None = None
    """When the service's own path last answered well."""
    service_error: str = ""
    """Why it did not the last time; empty where it did, or was not asked yet."""
    asked: bool = False
    """Whether the candidate's path was asked lately, and an answer came or failed to come."""
    answered: bool = False
    """Whether it ever answered well since it is there."""
    failures: int = 0
    """How often in a row it did not, since it first answered, or since `ROUTE_SECONDS` after it was there."""
    failing_since: Instant | None = None
    """When the first of these ended."""
    error: str = ""
    """Why it did not the last time; empty where it did."""


class RouteView(ChildView, frozen=True):
    generation: int = 0
    spec: dict[str, Any] = {}
    parents: tuple[ParentView, ...] = ()

    @property
    def uses_pool(self) -> bool:
        """Whether it sends requests to an InferencePool."""
        refs = (ref for rule in self.spec.get("rules") or () for ref in rule.get("backendRefs") or ())
        return any(ref.get("kind") == "InferencePool" for ref in refs)


class GatewayView(msgspec.Struct, frozen=True):
    """The Gateway that routes attach to."""

    exists: bool = True
    base_url: str = ""
    """Its address as its controller reports it, `http://HOST[:PORT]`; empty where it reports none."""
    controlled: bool = False
    """Whether a controller has ever reported on it."""


class ExtraView(ChildView, frozen=True):
    """An object that is compared as a whole."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    content: dict[str, Any] = {}


class ClusterKinds(msgspec.Struct, frozen=True):
    """Which optional kinds the cluster has; None where that is not known."""

    http_routes: bool | None = None
    inference_pools: bool | None = None
    service_monitors: bool | None = None


class BudgetView(ChildView, frozen=True):
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    unhealthy_pod_eviction_policy: str | None = None
    """None from API servers that do not know it (before Kubernetes 1.26)."""
    selector: dict[str, str] = {}
