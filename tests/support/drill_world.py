"""A service that was released once over another version, in the world without time, and drills of going back."""

from typing import Any

import msgspec
from plan_world import LLAMA, PlanWorld, merged

from outrider.api import labels
from outrider.api.llmdeployment import DrillStatus
from outrider.api.meta import format_time
from outrider.plan.deployment import Snapshot


class DrillWorld(PlanWorld):
    """Here pods also know when they were made, and since when what they say is true."""

    def __init__(self, manifest: dict[str, Any], *, gpus_per_node: int, nodes: int) -> None:
        super().__init__(manifest, gpus_per_node=gpus_per_node, nodes=nodes)
        self.refused = ""
        """How the names of Deployments end that get no pod: a quota, say. Empty: none."""
        self.nodes_seen = True
        """Whether nodes may be read."""
        self._since: dict[tuple[str, str, str], str] = {}

    def snapshot(self) -> Snapshot:
        self._stamp()
        found = super().snapshot()
        return found if self.nodes_seen else msgspec.structs.replace(found, gpus=None)

    def _stamp(self) -> None:
        for pod in self.pods:
            for one in pod["status"].get("conditions") or []:
                key = (pod["metadata"]["uid"], one["type"], one["status"])
                one["lastTransitionTime"] = self._since.setdefault(key, format_time(self.now))

    def _start(self, deployment: str, template: dict[str, Any]) -> dict[str, Any]:
        pod = super()._start(deployment, template)
        annotated = {"annotations": dict(template["metadata"].get("annotations") or {})}
        pod["metadata"] |= {"creationTimestamp": format_time(self.now), **annotated}
        return pod

    def _roll(self, name: str, spec: dict[str, Any]) -> None:
        if not self._is_refused(name):
            super()._roll(name, spec)

    def _report(self, name: str, workload: dict[str, Any]) -> None:
        super()._report(name, workload)
        if self._is_refused(name):
            failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
            workload["status"]["conditions"] = [failure]

    def _is_refused(self, name: str) -> bool:
        return bool(self.refused) and name.endswith(self.refused)


def released(*, gpus: int = 8, nodes: int = 1, load_ticks: int = 1, **spec: Any) -> DrillWorld:
    """v2.0.0 serves with two replicas, after v1.0.0 did. Nothing is compared."""
    quiet = {"rollback": {"autoRollback": {"minRequests": 0}, "standby": "300s"}}
    made = DrillWorld(merged(merged(LLAMA, {"spec": quiet}), {"spec": spec}), gpus_per_node=gpus, nodes=nodes)
    made.settle()
    made.tick(100.0)
    made.version("v2.0.0")
    turns(made, 400.0)
    assert made.status.phase == "Ready", made.status
    made.load_ticks = load_ticks
    made.events.clear()
    return made


def turns(made: DrillWorld, seconds: float = 5.0, rounds: int = 20) -> None:
    """Let operator and cluster take turns for so many seconds."""
    for _ in range(rounds):
        made.reconcile()
        made.tick(seconds / rounds)


def ask(made: DrillWorld, version: str = "v1.0.0", *, at: float | None = None) -> str:
    """Ask for a drill, as the command does; gives the time that names it."""
    requested = format_time(at if at is not None else made.now)
    annotations(made, version)[labels.DRILL] = requested
    return requested


def call_off(made: DrillWorld, version: str = "v1.0.0") -> None:
    del annotations(made, version)[labels.DRILL]


def annotations(made: DrillWorld, version: str) -> dict[str, str]:
    body = made.objects["ModelRevision", made.revision(version).metadata.name or f"llama-{revision(made, version)}"]
    found: dict[str, str] = body["metadata"].setdefault("annotations", {})
    return found


def revision(made: DrillWorld, version: str = "v1.0.0") -> str:
    return made.revision(version).spec.hash


def drill(made: DrillWorld) -> DrillStatus:
    found = made.status.rollback.last_drill
    assert found is not None, "no drill is told of"
    return found


def drill_pods(made: DrillWorld) -> list[dict[str, Any]]:
    return [pod for pod in made.pods if labels.DRILL_OF in pod["metadata"]["labels"]]


def remains(made: DrillWorld) -> list[str]:
    """What there is of a drill: Deployments, and pods that are not ending."""
    workloads = [name for kind, name in made.objects if kind == "Deployment" and name.endswith("-drill")]
    return workloads + [
        pod["metadata"]["name"] for pod in drill_pods(made) if not pod["metadata"].get("deletionTimestamp")
    ]


def told(made: DrillWorld) -> list[str]:
    """Reasons of the events about drills."""
    return [one.reason for one in made.events if one.reason.startswith("Drill")]
