"""The arithmetic of a Deployment's rollout, as kube-controller-manager does it (pkg/controller/deployment/util)."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal

from outrider.api.int_or_percent import resolve
from outrider.local.actors.objects import Deployment, ReplicaSet

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
TEMPLATE_HASH = "pod-template-hash"
DEFAULT_SHARE = "25%"
"""maxSurge and maxUnavailable where the Deployment does not say."""


def fenceposts(deployment: Deployment) -> tuple[int, int]:
    """(surge, unavailable) of a rolling update in pods: surge rounds up, unavailable rounds down, never both 0."""
    rolling, replicas = deployment.spec.strategy.rolling_update, deployment.spec.replicas
    surge = resolve(DEFAULT_SHARE if rolling.max_surge is None else rolling.max_surge, replicas, round_up=True)
    share = DEFAULT_SHARE if rolling.max_unavailable is None else rolling.max_unavailable
    unavailable = resolve(share, replicas, round_up=False)
    return surge, 1 if surge == 0 and unavailable == 0 else unavailable


def is_rolling(deployment: Deployment) -> bool:
    return deployment.spec.strategy.type != "Recreate"


def max_surge(deployment: Deployment) -> int:
    """How many pods more than `spec.replicas` there may be."""
    return fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Deployment) -> int:
    """How many pods fewer than `spec.replicas` may be available."""
    if not is_rolling(deployment) or deployment.spec.replicas == 0:
        return 0
    return min(fenceposts(deployment)[1], deployment.spec.replicas)


def asked_for(sets: Iterable[ReplicaSet]) -> int:
    """Pods that the ReplicaSets are asked to have."""
    return sum(each.spec.replicas for each in sets)


def available(sets: Iterable[ReplicaSet]) -> int:
    """Available pods that will stay: a status that still counts pods beyond a smaller `spec.replicas` is behind."""
    return sum(min(each.status.available_replicas, each.spec.replicas) for each in sets)


def new_set_size(deployment: Deployment, sets: Sequence[ReplicaSet], current: int) -> int:
    """How many replicas the new ReplicaSet, which has `current` and is one of `sets` or will be, may have next."""
    if not is_rolling(deployment):
        return deployment.spec.replicas
    room = deployment.spec.replicas + max_surge(deployment) - asked_for(sets)
    return current if room <= 0 else current + min(room, deployment.spec.replicas - current)


def annotated_number(replica_set: ReplicaSet, key: str) -> int | None:
    text = replica_set.metadata.annotations.get(key, "")
    return int(text) if text.isdigit() else None


def revision_of(replica_set: ReplicaSet) -> int:
    return annotated_number(replica_set, REVISION) or 0


def proportion(replica_set: ReplicaSet, deployment: Deployment, to_add: int, added: int) -> int:
    """Share of this ReplicaSet in `to_add` replicas (negative: to remove), of which `added` are given out already."""
    if replica_set.spec.replicas == 0 or to_add == added:
        return 0
    share, rest = _fraction(replica_set, deployment), to_add - added
    return min(share, rest) if to_add > 0 else max(share, rest)


def _fraction(replica_set: ReplicaSet, deployment: Deployment) -> int:
    if deployment.spec.replicas == 0:
        return -replica_set.spec.replicas
    before = annotated_number(replica_set, MAX_REPLICAS) or deployment.status.replicas
    if before == 0:
        return 0
    most = deployment.spec.replicas + max_surge(deployment)
    size = Decimal(replica_set.spec.replicas * most) / Decimal(before)
    return int(size.quantize(Decimal(1), rounding=ROUND_HALF_UP)) - replica_set.spec.replicas


def scaled_in_proportion(deployment: Deployment, active: Sequence[ReplicaSet]) -> dict[str, int]:
    """New sizes, by name, of the active ReplicaSets of a Deployment that was scaled in the middle of a rollout.

    Each keeps its share of the whole, so that the risk that the rollout has taken so far stays in proportion; what
    rounding leaves over goes to the largest (of equals: the newer one when growing, the older one when shrinking).
    """
    allowed = deployment.spec.replicas + max_surge(deployment) if deployment.spec.replicas > 0 else 0
    to_add = allowed - asked_for(active)
    by_age = sorted(active, key=_age_order, reverse=to_add > 0)
    largest_first = sorted(by_age, key=lambda each: -each.spec.replicas)
    sizes, added = {}, 0
    for each in largest_first:
        share = proportion(each, deployment, to_add, added) if to_add else 0
        sizes[each.metadata.name] = each.spec.replicas + share
        added += share
    if to_add and largest_first:
        name = largest_first[0].metadata.name
        sizes[name] = max(0, sizes[name] + to_add - added)
    return sizes


def _age_order(replica_set: ReplicaSet) -> tuple[str, str]:
    return replica_set.metadata.creation_timestamp or "", replica_set.metadata.name


def oldest_first(sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    return sorted(sets, key=_age_order)


def clean_up_unhealthy(old: Sequence[ReplicaSet], most: int) -> dict[str, int]:
    """New sizes of old ReplicaSets after giving up to `most` pods that are not available anyway, oldest set first."""
    sizes: dict[str, int] = {}
    for each in oldest_first(old):
        unhealthy = each.spec.replicas - each.status.available_replicas
        if most > 0 and unhealthy > 0:
            sizes[each.metadata.name] = each.spec.replicas - min(most, unhealthy)
            most -= min(most, unhealthy)
    return sizes


def give_way(old: Sequence[ReplicaSet], spare: int) -> dict[str, int]:
    """New sizes of old ReplicaSets after giving up to `spare` available pods, oldest set first."""
    sizes: dict[str, int] = {}
    for each in oldest_first(old):
        taken = min(each.spec.replicas, spare)
        if taken > 0:
            sizes[each.metadata.name] = each.spec.replicas - taken
            spare -= taken
    return sizes
