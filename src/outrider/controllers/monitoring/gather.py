"""The snapshot of one namespace's ServiceMonitor."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from outrider.api.labels import MANAGED_BY, MANAGED_BY_VALUE
from outrider.api.llmdeployment import LLMDeployment
from outrider.controllers.deployment.gather import parse_deployment
from outrider.controllers.deployment.observe import extra_view
from outrider.kube.api import Api, NotFound
from outrider.kube.metadata import metadata_of
from outrider.kube.objects import SERVICE_MONITOR
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan import deployment
from outrider.plan.monitoring import NAME, Snapshot, desired


def interval_of(one: LLMDeployment) -> float | None:
    """Seconds between the scrapes that an LLMDeployment asks for; None if it wants none, or cannot be read."""
    if one.metadata.deletion_timestamp is not None:
        return None
    spec = parse_deployment(one).spec
    if spec is None or not (spec.monitoring.enabled and spec.monitoring.service_monitor.enabled):
        return None
    return spec.monitoring.service_monitor.interval.seconds


def build_snapshot(
    namespace: str,
    intervals: Iterable[float | None],
    found: Mapping[str, Any] | None,
    *,
    available: bool | None,
    extra_labels: Mapping[str, str],
) -> Snapshot:
    """`intervals`: what `interval_of` gave for each LLMDeployment; `found`: what has the ServiceMonitor's name."""
    view = extra_view(SERVICE_MONITOR, found, "") if found is not None else None
    if view is not None and found is not None:
        ours = metadata_of(found).labels.get(MANAGED_BY) == MANAGED_BY_VALUE
        view = msgspec.structs.replace(view, owned=ours)
    return Snapshot(
        namespace=namespace,
        intervals=tuple(seconds for seconds in intervals if seconds is not None),
        available=available,
        found=view,
        extra_labels=dict(extra_labels),
    )


async def monitor_of(api: Api, snapshot: deployment.Snapshot) -> dict[str, Any] | None:
    """The ServiceMonitor that the LLMDeployment of a snapshot, as it is there, leads to; None where there is none."""
    if not snapshot.kinds.service_monitors:
        return None
    stored = (await api.list(LLM_DEPLOYMENT, snapshot.namespace)).items
    others = [one for one in stored if one.metadata.name != snapshot.name]
    try:
        found = await api.get(SERVICE_MONITOR, NAME, snapshot.namespace)
    except NotFound:
        found = None
    around = build_snapshot(
        snapshot.namespace,
        [interval_of(one) for one in (*others, snapshot.deployment)],
        found,
        available=True,
        extra_labels=snapshot.config.monitor_labels,
    )
    return desired(around) if around.found is None or around.found.owned else None
