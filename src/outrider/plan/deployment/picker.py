"""Whether an endpoint picker chooses the pod for each request: `spec.scheduling.scheduler`.

It needs a cluster that has InferencePools and a gateway that sends requests to them. Where one of these is missing the
Service does the work, and the reason is told. What is not known changes nothing.
"""

from typing import Literal

import msgspec

from outrider.api.meta import find_condition
from outrider.api.spec import LLMDeploymentSpec
from outrider.plan.deployment import gateway
from outrider.plan.deployment.snapshot import Snapshot

SCHEDULER = "llm-d-inference-scheduler"
CONDITION = "EndpointPicker"

Reason = Literal[
    "NotAsked", "UnknownScheduler", "NoGateway", "PoolsNotEnabled", "NoInferencePool", "Unknown", "GatewayRefusesPool",
    "PickerStarting", "PickerInUse",
]  # fmt: skip


class Picker(msgspec.Struct, frozen=True):
    """What was decided."""

    reason: Reason
    message: str = ""
    objects: bool | None = False
    """Whether pool and picker should exist; None: leave them as they are."""
    routed: bool = False
    """Whether routes lead to the pool instead of the Service."""

    @property
    def asked(self) -> bool:
        return self.reason != "NotAsked"


def decide(snapshot: Snapshot, spec: LLMDeploymentSpec, service_name: str) -> Picker:
    """Whether there is a picker, whether requests go through it, and why not."""
    config = snapshot.config
    if not spec.scheduling.scheduler:
        return Picker("NotAsked")
    if spec.scheduling.scheduler != SCHEDULER:
        return Picker("UnknownScheduler", f"the only scheduler of requests that can be set up is {SCHEDULER}")
    if not config.gateway_name:
        return Picker("NoGateway", "no endpoint picker: the operator has no Gateway that could ask one", objects=None)
    if not config.inference_pool:
        message = (
            "no endpoint picker: the operator is not told that its Gateway sends requests to InferencePools "
            "(outrider operator --inference-pool); a ready replica is chosen by the gateway"
        )
        return Picker("PoolsNotEnabled", message)
    routed = any(view.uses_pool for view in gateway.routes_of(snapshot, service_name).values())
    if snapshot.kinds.inference_pools is None:
        return Picker("Unknown", "it is not known whether the cluster has InferencePools", objects=None, routed=routed)
    if not snapshot.kinds.inference_pools:
        message = (
            "no endpoint picker: this cluster has no InferencePool (inference.networking.k8s.io/v1); a ready replica "
            "is chosen by the gateway"
        )
        return Picker("NoInferencePool", message)
    if (routed and _refuses(snapshot, service_name)) or _refused_before(snapshot):
        return Picker("GatewayRefusesPool", _refused(snapshot))
    available = snapshot.picker is not None and snapshot.picker.available_replicas > 0
    if not routed and not available:
        message = "the endpoint picker is starting: until then a ready replica is chosen by the gateway"
        return Picker("PickerStarting", message, objects=True)
    return Picker("PickerInUse", "The endpoint picker chooses the replica.", objects=True, routed=True)


def _refuses(snapshot: Snapshot, service_name: str) -> bool:
    return any(one.reason == "InvalidKind" for one in gateway.refusals(snapshot, service_name))


def _refused_before(snapshot: Snapshot) -> bool:
    """A refusal is remembered for as long as the spec stays: the route that leads to the Service again is accepted, and
    does not say that the pool would not be.
    """
    known = find_condition(snapshot.deployment.status.conditions, CONDITION)
    return (
        known is not None
        and known.reason == "GatewayRefusesPool"
        and known.observed_generation == snapshot.deployment.metadata.generation
    )


def _refused(snapshot: Snapshot) -> str:
    config = snapshot.config
    name = f"{config.gateway_namespace or snapshot.namespace}/{config.gateway_name}"
    return (
        f"no endpoint picker: the Gateway {name} refuses InferencePools (ResolvedRefs False, InvalidKind), so requests "
        "go to the Service again; use a gateway that supports them, or remove spec.scheduling.scheduler. It is tried "
        "again when the spec changes"
    )
