"""The ServiceMonitor of a namespace: `plan(snapshot) -> Plan`, pure.

One object for all LLMDeployments of the namespace, as the SRE guide has it: their Services carry the same label. It is
nobody's property, so no owner reference holds it. A list of all owners would have to be written anew with each
LLMDeployment that comes or goes; Outrider deletes it when the last one that wants it has gone. Left behind by an
operator that is gone, too, it selects nothing.
"""

from typing import Any

import msgspec

from outrider.api import labels
from outrider.plan.actions import Apply, Delete, Plan
from outrider.plan.deployment import drift
from outrider.plan.deployment.observed import ExtraView
from outrider.plan.deployment.render import signed

__all__ = ["Snapshot", "desired", "plan"]

NAME = "llm-deployment-metrics"
API_VERSION = "monitoring.coreos.com/v1"
UNWANTED = "no LLMDeployment of the namespace wants it any more."

Body = dict[str, Any]


class Snapshot(msgspec.Struct, frozen=True):
    namespace: str
    intervals: tuple[float, ...] = ()
    """Seconds between scrapes that each LLMDeployment asks for; of those alone that want to be scraped."""
    available: bool | None = None
    """Whether the cluster has ServiceMonitors; None where that is not known."""
    found: ExtraView | None = None
    """What has its name now."""
    extra_labels: dict[str, str] = {}
    """Labels by which a Prometheus chooses its ServiceMonitors."""


def desired(snapshot: Snapshot) -> Body | None:
    """The ServiceMonitor as it should be; None where there should be none."""
    if not snapshot.intervals:
        return None
    return signed(
        {
            "apiVersion": API_VERSION,
            "kind": "ServiceMonitor",
            "metadata": {
                "name": NAME,
                "namespace": snapshot.namespace,
                "labels": snapshot.extra_labels
                | {labels.NAME: labels.NAME_VALUE, labels.MANAGED_BY: labels.MANAGED_BY_VALUE},
                "annotations": {},
            },
            "spec": {
                # `job="llm-deployment"`, as the guide's alerts have it.
                "jobLabel": labels.NAME,
                "selector": {
                    "matchLabels": {labels.NAME: labels.NAME_VALUE},
                    "matchExpressions": [{"key": labels.SCRAPE, "operator": "NotIn", "values": ["false"]}],
                },
                "endpoints": [
                    {
                        "port": labels.METRICS_PORT_NAME,
                        "path": "/metrics",
                        "interval": f"{max(1, round(min(snapshot.intervals)))}s",
                    }
                ],
                # Every series says which model and which revision it is about.
                "podTargetLabels": [labels.DEPLOYMENT, labels.MODEL, labels.REVISION, labels.MODEL_VERSION],
            },
        }
    )


def plan(snapshot: Snapshot) -> Plan:
    """Nothing at all where the cluster has no ServiceMonitors, or nobody knows."""
    if not snapshot.available:
        return Plan()
    found, body = snapshot.found, desired(snapshot)
    if found is not None and not found.owned:
        return Plan(because=(f"ServiceMonitor {NAME} in {snapshot.namespace} is somebody else's.",))
    if body is None:
        if found is None:
            return Plan()
        return Plan(actions=(_deletion(snapshot.namespace, found),), because=(f"ServiceMonitor {NAME}: {UNWANTED}",))
    why = drift.whole(body, found)
    if why is None:
        return Plan()
    return Plan(actions=(Apply(body=body, why=f"ServiceMonitor {NAME}: {why}."),), because=(f"{NAME}: {why}.",))


def _deletion(namespace: str, found: ExtraView) -> Delete:
    return Delete(
        api_version=API_VERSION, kind="ServiceMonitor", namespace=namespace, name=NAME, uid=found.uid, why=UNWANTED
    )
