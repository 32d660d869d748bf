"""The objects that serve one revision: Deployment, Service and PodDisruptionBudget, as bodies to apply.

Every body is all that Outrider wants of the object: server-side apply takes back what it once set and no longer names.
"""

from typing import Any

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.modelrevision import ModelRevisionSpec
from outrider.api.names import label_value, revision_name
from outrider.api.spec import LLMDeploymentSpec
from outrider.plan.deployment.observed import APPLIED_HASH, WorkloadView
from outrider.plan.deployment.pod import pod_template
from outrider.plan.deployment.revision import content_hash, owner_reference
from outrider.plan.deployment.rolling import max_unavailable, recreates, surge
from outrider.plan.deployment.snapshot import PlanConfig

Body = dict[str, Any]
CHANGE_CAUSE = "kubernetes.io/change-cause"
"""What `kubectl rollout history` shows beside a revision of a Deployment."""


def selector(name: str, revision: str = "") -> dict[str, str]:
    """Selects all pods of an LLMDeployment, or those of one revision."""
    return {labels.DEPLOYMENT: label_value(name)} | ({labels.REVISION: revision} if revision else {})


def selector_text(name: str) -> str:
    return ",".join(f"{key}={value}" for key, value in selector(name).items())


def deployment_body(
    owner: LLMDeployment,
    spec: LLMDeploymentSpec,
    revision: ModelRevisionSpec,
    config: PlanConfig,
    workload: WorkloadView | None = None,
    *,
    place: str = "",
    replicas: int | None = None,
    paused: bool = False,
    unavailable: int = 0,
) -> Body:
    """The Deployment, named after the LLMDeployment, so that `kubectl rollout status deployment/NAME` works.

    `workload` is the Deployment as it is now, where there is one. `paused` stops the rollout where it is. With `place`
    it is one of that name, for this revision alone. `replicas`: not all that are wanted in the end. `unavailable`: so
    many may be missing at least, whatever the spec says.
    """
    name = owner.metadata.name
    alone = place not in ("", name)
    body = object_body("apps/v1", "Deployment", owner, place or name)
    body["metadata"]["annotations"] = {CHANGE_CAUSE: f"{revision.version} ({revision_name(name, revision.hash)})"}
    body["spec"] = {
        "replicas": spec.desired_replicas if replicas is None else replicas,
        "selector": {"matchLabels": selector(name, revision.hash if alone else "")},
        "strategy": strategy(spec, workload, paused=paused, unavailable=unavailable),
        "progressDeadlineSeconds": spec.workload_deadline_seconds,
        "revisionHistoryLimit": 2,
        "template": pod_template(name, spec, revision, config),
        "paused": paused,
    }
    return signed(body)


def strategy(
    spec: LLMDeploymentSpec, workload: WorkloadView | None, *, paused: bool = False, unavailable: int = 0
) -> Body:
    """How pods of one Deployment are replaced. Canary and blue-green releases have two Deployments; where the template
    of one of them changes all the same (other resources), its pods are replaced as in a rolling update.
    """
    if recreates(spec):
        return {"type": "Recreate"}
    own = spec.deployment.rolling_update.max_unavailable
    most = own if max_unavailable(spec) >= unavailable else unavailable
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge(spec, workload, paused=paused), "maxUnavailable": most},
    }


def service_body(owner: LLMDeployment, spec: LLMDeploymentSpec, service_name: str, revision: str = "") -> Body:
    """The Service: `http` for requests, `metrics` for the SRE guide's ServiceMonitor, both the engine's one port.

    With `revision` it selects only the pods of that.
    """
    body = object_body("v1", "Service", owner, service_name)
    if not (spec.monitoring.enabled and spec.monitoring.service_monitor.enabled):
        body["metadata"]["labels"][labels.SCRAPE] = "false"
    body["spec"] = {
        "selector": selector(owner.metadata.name, revision),
        "ports": [
            {
                "name": labels.HTTP_PORT_NAME,
                "port": labels.HTTP_PORT,
                "targetPort": labels.HTTP_PORT_NAME,
                "protocol": "TCP",
            },
            {
                "name": labels.METRICS_PORT_NAME,
                "port": labels.METRICS_PORT,
                "targetPort": labels.HTTP_PORT_NAME,
                "protocol": "TCP",
            },
        ],
    }
    return signed(body)


def budget_body(owner: LLMDeployment, spec: LLMDeploymentSpec) -> Body:
    """The PodDisruptionBudget: how much a drain may take at once. Pods that are not ready serve nobody, and may always
    go: by default Kubernetes keeps them where too few others are ready, and a crash loop then holds up every drain.
    """
    name = owner.metadata.name
    body = object_body("policy/v1", "PodDisruptionBudget", owner, name)
    body["spec"] = {
        "selector": {"matchLabels": selector(name)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        **spec.disruption_budget,
    }
    return signed(body)


def object_body(api_version: str, kind: str, owner: LLMDeployment, name: str) -> Body:
    """An object that belongs to the LLMDeployment, without content."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": owner.metadata.namespace,
            "labels": {
                labels.NAME: labels.NAME_VALUE,
                labels.INSTANCE: label_value(owner.metadata.name),
                labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
                labels.DEPLOYMENT: label_value(owner.metadata.name),
            },
            "annotations": {},
            "ownerReferences": [owner_reference(owner)],
        },
    }


def signed(body: Body) -> Body:
    """With the hash of its own content, by which a later look knows that it was applied just so."""
    annotations = body["metadata"].get("annotations", {})
    body["metadata"]["annotations"] = {**annotations, APPLIED_HASH: content_hash(body)[:16]}
    return body


def signature(body: Body) -> str:
    return str(body["metadata"]["annotations"][APPLIED_HASH])
