"""How far a rolling update may go beyond and below the wanted number of pods."""

from outrider.api.int_or_percent import resolve
from outrider.api.spec import LLMDeploymentSpec
from outrider.plan.deployment.observed import WorkloadView


def max_unavailable(spec: LLMDeploymentSpec) -> int:
    """As the Deployment controller resolves it: shares rounded down, and one when surge and this both are zero. All of
    them with the strategy Recreate.
    """
    rolling, replicas = spec.deployment.rolling_update, spec.desired_replicas
    if recreates(spec):
        return replicas
    unavailable = resolve(rolling.max_unavailable, replicas, round_up=False)
    surge = resolve(rolling.max_surge, replicas, round_up=True)
    return unavailable if unavailable or surge else 1


def first_batch(spec: LLMDeploymentSpec) -> int:
    """How many new pods may come before the first of them is ready."""
    return resolve(spec.deployment.rolling_update.max_surge, spec.desired_replicas, round_up=True) + max_unavailable(
        spec
    )


def surge(spec: LLMDeploymentSpec, workload: WorkloadView | None, *, paused: bool = False) -> int | str:
    """`maxSurge`: the spec's, except where the Deployment's controller would end pods that serve for it.

    A Deployment that is scaled in the middle of a rollout, or paused, takes what is above its replicas and surge from
    all its ReplicaSets in proportion to their sizes, whether the pods are ready or not (deployment/sync.go, `scale`),
    and may so end the last that serves while the new ones still load. `paused` says that it is to be.

    While replicas are taken away, a surge for all the pods that there are leaves it none to take at once: it gives
    them up one by one as the rollout goes on, never below what is wanted. As soon as it has seen the new number the
    spec's surge is good again, but not for a pause, nor for more replicas, as long as there are too many pods.
    """
    own, wanted = spec.deployment.rolling_update.max_surge, spec.desired_replicas
    if workload is None or wanted == 0:
        return own
    seen = workload.is_observed
    if workload.spec_replicas <= wanted:
        # Taken away already, or nothing is: what was decided then holds until the Deployment's controller has seen it.
        held = own if seen or workload.max_surge is None else workload.max_surge
        needed = _cover(workload, wanted) if paused or workload.spec_replicas < wanted else 0
        return needed if needed > resolve(held, wanted, round_up=True) else held
    if seen and workload.replicas == workload.updated_replicas:
        return own
    before = workload.spec_replicas + resolve(workload.max_surge or 0, workload.spec_replicas, round_up=True)
    most = max(before, workload.replicas)
    return own if most <= wanted + resolve(own, wanted, round_up=True) else most - wanted


def is_on_hold(spec: LLMDeploymentSpec, workload: WorkloadView | None) -> bool:
    """Whether the Deployment's controller has to see the last change before a rolling update becomes a Recreate: see
    `replicas`.
    """
    return recreates(spec) and workload is not None and workload.max_surge is not None and not workload.is_observed


def replicas(spec: LLMDeploymentSpec, workload: WorkloadView | None, wanted: int) -> int:
    """How many are asked for now: all that are wanted, except where a Recreate takes over in the middle of a rolling
    update.

    A Deployment of the strategy Recreate whose replicas are changed while two of its ReplicaSets have any stays as it
    is for ever: scaling comes first, and it is neither rolling nor has it one ReplicaSet to scale (deployment/sync.go,
    `scale`). So all old pods go first, which it does at once, and the replicas are changed when it has done so.
    """
    if workload is None or not recreates(spec):
        return wanted
    not_begun = workload.max_surge is not None or workload.paused
    divided = not_begun and workload.replicas != workload.updated_replicas
    return workload.spec_replicas if divided or not workload.is_observed else wanted


def recreates(spec: LLMDeploymentSpec) -> bool:
    """Whether all old pods go before a new one comes."""
    return spec.deployment.rollout_strategy == "Recreate"


def _cover(workload: WorkloadView, wanted: int) -> int:
    """The least surge with which no scaling leaves fewer than `wanted` pods that serve, whichever it takes.

    As many more as do not serve, since only those that do might be taken; and none is asked for that there is not yet.
    """
    asked_for = workload.available_replicas + workload.unavailable_replicas
    return max(0, min(workload.unavailable_replicas, asked_for - wanted))
