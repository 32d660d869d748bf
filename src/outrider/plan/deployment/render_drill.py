"""The Deployment of a drill: the pod of the revision as a rollback would start it, but for what others would notice."""

from typing import Any

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.modelrevision import ModelRevisionSpec
from outrider.api.names import drill_name, label_value
from outrider.api.spec import ENGINE_CONTAINER, LLMDeploymentSpec
from outrider.plan.deployment.pod import pod_template
from outrider.plan.deployment.render import Body, object_body, signed
from outrider.plan.deployment.snapshot import PlanConfig

GRACE_SECONDS = 10
"""For the engine's processes to end. No request of a user is on its way to the pod, so nothing has to be waited for."""


def drill_body(
    owner: LLMDeployment, spec: LLMDeploymentSpec, revision: ModelRevisionSpec, config: PlanConfig, requested: str
) -> Body:
    """One pod, named by its labels as a drill's. `requested` is the time that names the drill.

    It has a name of its own, not that of the revision's Deployment in a release by steps: a Deployment's selector
    cannot be changed, and so a real release or rollback never finds its place taken.
    """
    body = object_body("apps/v1", "Deployment", owner, drill_name(owner.metadata.name, revision.hash))
    body["metadata"]["labels"] = _as_of_drill(body["metadata"]["labels"], owner)
    body["spec"] = {
        "replicas": 1,
        "selector": {
            "matchLabels": {labels.DRILL_OF: label_value(owner.metadata.name), labels.REVISION: revision.hash}
        },
        "strategy": {"type": "Recreate"},
        "progressDeadlineSeconds": spec.workload_deadline_seconds,
        "revisionHistoryLimit": 0,
        "template": _template(owner, pod_template(owner.metadata.name, spec, revision, config), requested),
    }
    return signed(body)


def _template(owner: LLMDeployment, template: Body, requested: str) -> Body:
    metadata, pod = template["metadata"], dict(template["spec"])
    # Without the class its pod takes nobody's place, and whoever has one takes its.
    pod.pop("priorityClassName", None)
    # It counts pods by the label that this one lacks.
    pod.pop("topologySpreadConstraints", None)
    pod["terminationGracePeriodSeconds"] = GRACE_SECONDS
    pod["containers"] = [_container(one) for one in pod["containers"]]
    return {
        "metadata": {
            "labels": _as_of_drill(metadata["labels"], owner),
            "annotations": metadata["annotations"] | {labels.DRILL: requested},
        },
        "spec": pod,
    }


def _container(container: dict[str, Any]) -> dict[str, Any]:
    if container["name"] != ENGINE_CONTAINER:
        return container
    kept = {key: value for key, value in container.items() if key != "lifecycle"}
    # The pod goes with the drill, and its log with it: why it could not load is told by its status.
    return kept | {"terminationMessagePolicy": "FallbackToLogsOnError"}


def _as_of_drill(written: dict[str, str], owner: LLMDeployment) -> dict[str, str]:
    """The labels by which nothing takes it for a part of the service."""
    kept = {key: value for key, value in written.items() if key != labels.DEPLOYMENT}
    return kept | {labels.DRILL_OF: label_value(owner.metadata.name)}
