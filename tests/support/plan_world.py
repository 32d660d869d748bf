"""A pure little world for plans: objects as dicts, a Deployment controller of thirty lines, and no time but a number.

It is not the local world: nothing is asynchronous here, so that hypothesis can drive thousands of edits through it.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment, LLMDeploymentStatus
from outrider.api.meta import Condition, find_condition, format_time, parse_time
from outrider.api.modelrevision import ModelRevision
from outrider.api.versionpin import VersionPin
from outrider.controllers.deployment.faults import faults
from outrider.controllers.deployment.gather import PICKER_KINDS, Observed, build_snapshot, nodes_of
from outrider.kube.objects import Deployment, Gateway, HTTPRoute, Node, Pod, PodDisruptionBudget, Service
from outrider.plan.actions import Apply, Create, Delete, Emit, Evict, PatchStatus, Plan, Scale, SetPodCondition
from outrider.plan.deployment import Snapshot, plan
from outrider.plan.deployment.observed import ClusterKinds, FrontDoorView
from outrider.plan.deployment.snapshot import PlanConfig, ProbeView, Watch
from outrider.plan.evidence import State
from outrider.plan.evidence.settings import LEAST_TICKS

GUIDE = Path(__file__).parents[1] / "golden" / "guide"
START = 1_700_000_000.0
LLAMA = {
    "apiVersion": labels.API_VERSION,
    "kind": "LLMDeployment",
    "metadata": {"name": "llama", "namespace": "production"},
    "spec": {
        "model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": "v1.0.0"},
        "replicas": 2,
        "resources": {"requests": {"nvidia.com/gpu": "1"}},
    },
}


def guide_manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((GUIDE / f"{name}.yaml").read_text())  # type: ignore[no-any-return]


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class PlanWorld:
    def __init__(
        self,
        manifest: dict[str, Any] | None = None,
        *,
        config: PlanConfig | None = None,
        gpus_per_node: int = 8,
        nodes: int = 1,
        load_ticks: int = 1,
    ) -> None:
        self.now = START
        self.manifest: dict[str, Any] = copy.deepcopy(manifest or LLAMA)
        self.manifest["metadata"] |= {"uid": "uid-llmd", "generation": 1}
        self.config = config or PlanConfig()
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        """(kind, name) -> object: what was applied or created."""
        self.pin: dict[str, Any] | None = None
        self.pods: list[dict[str, Any]] = []
        self.foreign_pods: list[dict[str, Any]] = []
        self.nodes = [self.node(f"node-{number}", gpus_per_node) for number in range(nodes)]
        self.nodes_readable = True
        self.load_ticks = load_ticks
        self.crashing: set[str] = set()
        """Versions whose pods never become ready."""
        self.failing: set[str] = set()
        """Versions whose pods are ready and answer nothing well."""
        self.probing = True
        self.watching = True
        """Whether releases are counted at all, as `outrider plan` does not."""
        self.kinds = ClusterKinds(http_routes=True, inference_pools=False, service_monitors=False)
        self.gateway: dict[str, Any] | None = None
        """The Gateway, where the test has one."""
        self.gateway_looked_for = False
        self.counted = State()
        """What was counted of the release under way."""
        self.data_age = 0.0
        """Seconds since it was counted."""
        self.unread = 0.0
        """Seconds for which the candidate's metrics could not be read."""
        self.front_door: Callable[[Snapshot], FrontDoorView | None] = lambda _: None
        """What requests through the Gateway say."""
        self.events: list[Emit] = []
        self.writes = 0
        self._numbers = 0
        self.history: list[LLMDeploymentStatus] = []

    # What people do

    def edit(self, patch: dict[str, Any]) -> None:
        spec = merged(self.manifest["spec"], patch)
        if spec != self.manifest["spec"]:
            self.manifest["spec"] = spec
            self.manifest["metadata"]["generation"] += 1

    def version(self, version: str) -> None:
        self.edit({"model": {"version": version}})

    def set_pin(self, **spec: str) -> None:
        self.pin = {
            "metadata": {"name": self.name, "namespace": "production", "uid": "uid-pin", "generation": 1},
            "spec": {"deployment": self.name, **spec},
        }

    def unpin(self) -> None:
        self.pin = None

    # What is seen

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def status(self) -> LLMDeploymentStatus:
        return msgspec.convert(self.manifest.get("status") or {}, LLMDeploymentStatus)

    def condition(self, kind: str) -> Condition:
        found = find_condition(self.status.conditions, kind)
        assert found is not None, f"no condition {kind}"
        return found

    def revisions(self) -> list[ModelRevision]:
        found = [body for (kind, _), body in self.objects.items() if kind == "ModelRevision"]
        return sorted((msgspec.convert(body, ModelRevision) for body in found), key=lambda one: one.spec.sequence)

    def revision(self, version: str) -> ModelRevision:
        return next(one for one in reversed(self.revisions()) if one.spec.version == version)

    def serving_versions(self) -> set[str]:
        return {pod["metadata"]["labels"][labels.MODEL_VERSION] for pod in self.pods if _ready(pod)}

    def _child(self, kind: str, struct: type[Any], name: str = "") -> Any:
        body = self.objects.get((kind, name or self.name))
        return msgspec.convert(body, struct) if body is not None else None

    def _named(self, kind: str, struct: type[Any]) -> dict[str, Any]:
        return {name: msgspec.convert(body, struct) for (each, name), body in self.objects.items() if each == kind}

    def snapshot(self) -> Snapshot:
        pods = [msgspec.convert(pod, Pod) for pod in self.pods]
        foreign = [msgspec.convert(pod, Pod) for pod in self.foreign_pods]
        services = [msgspec.convert(body, Service) for (kind, _), body in self.objects.items() if kind == "Service"]
        nodes = [msgspec.convert(node, Node) for node in self.nodes] if self.nodes_readable else None
        own_nodes = nodes_of(pods, nodes or ())
        routes = [msgspec.convert(body, HTTPRoute) for (kind, _), body in self.objects.items() if kind == "HTTPRoute"]
        observed = Observed(
            deployment=msgspec.json.decode(msgspec.json.encode(self.manifest), type=LLMDeployment),
            revisions=self.revisions(),
            pin=msgspec.convert(self.pin, VersionPin) if self.pin is not None else None,
            workload=self._child("Deployment", Deployment),
            services=services,
            routes={route.metadata.name: route for route in routes},
            gateway=msgspec.convert(self.gateway, Gateway) if self.gateway is not None else None,
            gateway_read=self.gateway_looked_for or self.gateway is not None,
            kinds=self.kinds,
            workloads=self._named("Deployment", Deployment),
            extras=[
                (kind, body)
                for kind in PICKER_KINDS
                for (written, _), body in self.objects.items()
                if written == kind.kind
            ],
            budget=self._child("PodDisruptionBudget", PodDisruptionBudget),
            pods=pods,
            own_nodes=own_nodes,
            cluster=None if nodes is None else lambda: (nodes, [*pods, *foreign]),
            faults=faults(own_nodes, [*pods, *foreign]),
            probes=self._probes() if self.probing else {},
            watch=self._watch(),
            probing_since=START - 3600 if self.probing else None,
        )
        made = build_snapshot(observed, self.config)
        return msgspec.structs.replace(made, front_door=self.front_door(made))

    def _watch(self) -> Watch | None:
        release = self.status.release
        if release is None or not self.watching:
            return None
        if self.data_age > self.now - (parse_time(release.started_time) or self.now):
            return Watch(revision=release.revision, state=self.counted, data_age=None)
        ticks = self.counted.ticks or LEAST_TICKS  # what is counted may be nothing: it is news all the same
        state = msgspec.structs.replace(self.counted, ticks=ticks, last_tick_at=self.now - self.data_age)
        return Watch(revision=release.revision, state=state, data_age=self.data_age, unread=self.unread)

    def _probes(self) -> dict[str, ProbeView]:
        found = {}
        for pod in self.pods:
            meta = pod["metadata"]
            if not _is(pod, "ContainersReady") or not pod.get("asked"):
                continue
            bad = meta["labels"][labels.MODEL_VERSION] in self.failing
            found[meta["uid"]] = ProbeView(
                ok=not bad,
                at=self.now,
                last_success=None if bad else self.now,
                message="it answered 500" if bad else "",
            )
        return found

    # What the operator does

    def plan(self) -> Plan:
        return plan(self.snapshot(), self.now)

    def reconcile(self) -> Plan:
        made = self.plan()
        self.carry_out(made)
        return made

    def carry_out(self, made: Plan, stop_after: int | None = None) -> bool:
        """Write what the plan says; with `stop_after`, only so many writes, as if the process had died then."""
        steps: list[Any] = ([made.status] if made.status is not None else []) + list(made.actions)
        for number, step in enumerate(steps):
            if stop_after is not None and number >= stop_after:
                return False
            self._carry_out(step)
        return True

    def _carry_out(self, step: Any) -> None:
        if isinstance(step, Emit):
            self.events.append(step)
            return
        self.writes += 1
        match step:
            case dict():
                self.manifest["status"] = merged(self.manifest.get("status"), step)
                self.history.append(self.status)
            case Apply(body=body):
                self._apply(body)
            case Scale(name=name, replicas=replicas):
                scaled = self.objects.get(("Deployment", name))
                if scaled is not None:
                    self.objects["Deployment", name] = scaled | {
                        "spec": scaled["spec"] | {"replicas": replicas},
                        "metadata": scaled["metadata"] | {"generation": scaled["metadata"]["generation"] + 1},
                    }
            case Create(body=body):
                name = body["metadata"]["name"]
                created = copy.deepcopy(body)
                created["metadata"]["uid"] = f"uid-{name}"
                self.objects.setdefault((body["kind"], name), created)
            case Delete(kind=kind, name=name):
                self.objects.pop((kind, name), None)
            case PatchStatus(kind=kind, name=name, status=status):
                target = self.pin if kind == "VersionPin" else self.objects.get((kind, name))
                if target is not None:
                    target["status"] = merged(target.get("status"), status)
            case Evict(uid=uid, reason=reason, why=why):
                self.events.append(Emit("Warning", reason, why))
                for pod in self.pods:
                    if pod["metadata"]["uid"] == uid:
                        self._delete(pod)
            case SetPodCondition(uid=uid, condition=condition):
                for pod in self.pods:
                    if pod["metadata"]["uid"] == uid:
                        _set_condition(pod, condition.type, condition.status, condition.last_transition_time or "")

    def _apply(self, body: dict[str, Any]) -> None:
        key = (body["kind"], body["metadata"]["name"])
        old = self.objects.get(key)
        new = copy.deepcopy(body)
        generation = old["metadata"]["generation"] if old is not None else 0
        changed = old is None or old.get("spec") != body.get("spec")
        new["metadata"] |= {"uid": f"uid-{key[0]}-{key[1]}", "generation": generation + (1 if changed else 0)}
        if old is not None and "status" in old:
            new["status"] = old["status"]
        self.objects[key] = new

    # What Kubernetes does

    def node(self, name: str, gpus: int, **spec: Any) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "labels": {labels.GPU_PRODUCT: "NVIDIA-A100-SXM4-40GB"}},
            "spec": spec,
            "status": {
                "allocatable": {"nvidia.com/gpu": str(gpus)},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }

    def foreign_pod(self, name: str, deployment: str, node: str, gpus: int) -> None:
        self.foreign_pods.append(_pod(name, {labels.DEPLOYMENT: deployment}, gpus, node))

    def tick(self, seconds: float = 1.0) -> bool:
        """One round of the cluster. Tells whether anything but time moved."""
        self.now += seconds
        before = copy.deepcopy((self.pods, self.objects))
        for pod in self.pods:
            pod["asked"] = _is(pod, "ContainersReady")
        self.pods = [pod for pod in self.pods if not pod["metadata"].get("deletionTimestamp")]
        there = {
            name: body
            for (kind, name), body in self.objects.items()
            if kind == "Deployment" and (name == self.name or labels.REVISION in _selector(body))
        }
        for pod in [pod for pod in self.pods if pod["deployment"] not in there]:
            self._delete(pod)
        for name, workload in there.items():
            self._roll(name, workload["spec"])
        self._schedule()
        self._load()
        for name, workload in there.items():
            self._report(name, workload)
        return before != (self.pods, self.objects)

    def _roll(self, name: str, spec: dict[str, Any]) -> None:
        if spec.get("paused"):
            return  # enough for a trial, in which no pod is lost
        template, wanted = spec["template"], spec["replicas"]
        rolling = spec["strategy"].get("rollingUpdate") or {"maxSurge": 0, "maxUnavailable": wanted}
        surge, unavailable = (_amount(rolling[key], wanted) for key in ("maxSurge", "maxUnavailable"))
        own = [pod for pod in self.pods if pod["deployment"] == name]
        new = [pod for pod in own if pod["template"] == template]
        old = [pod for pod in own if pod["template"] != template]
        for pod in [pod for pod in old if not _ready(pod)][: max(0, len(own) - (wanted - unavailable))]:
            self._delete(pod)
        ready = [pod for pod in own if _ready(pod) and not pod["metadata"].get("deletionTimestamp")]
        spare = max(0, len(ready) - (wanted - unavailable))
        for pod in [pod for pod in old if _ready(pod)][:spare]:
            self._delete(pod)
        alive = [pod for pod in own if not pod["metadata"].get("deletionTimestamp")]
        for _ in range(min(wanted - len(new), wanted + surge - len(alive))):
            self.pods.append(self._start(name, template))
        for pod in new[wanted:]:
            self._delete(pod)

    def _delete(self, pod: dict[str, Any]) -> None:
        pod["metadata"]["deletionTimestamp"] = format_time(self.now)

    def _start(self, deployment: str, template: dict[str, Any]) -> dict[str, Any]:
        self._numbers += 1
        container = template["spec"]["containers"][0]
        gpus = int(container["resources"]["limits"].get("nvidia.com/gpu", "0"))
        pod = _pod(f"{self.name}-{self._numbers}", template["metadata"]["labels"], gpus, "")
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{deployment}-0", "uid": f"uid-{deployment}"}
        pod["metadata"]["ownerReferences"] = [owner | {"controller": True}]
        pod["spec"]["readinessGates"] = template["spec"].get("readinessGates") or []
        return pod | {"template": copy.deepcopy(template), "age": 0, "deployment": deployment}

    def _schedule(self) -> None:
        for pod in self.pods:
            if pod["spec"]["nodeName"]:
                continue
            gpus = _gpus(pod)
            for node in self.nodes:
                held = sum(
                    _gpus(other)
                    for other in [*self.pods, *self.foreign_pods]
                    if other["spec"]["nodeName"] == node["metadata"]["name"]
                )
                room = int(node["status"]["allocatable"]["nvidia.com/gpu"]) - held
                if room >= gpus and not node["spec"].get("unschedulable"):
                    pod["spec"]["nodeName"] = node["metadata"]["name"]
                    break
            else:
                pod["status"]["conditions"] = [
                    {"type": "PodScheduled", "status": "False", "message": "Insufficient nvidia.com/gpu"}
                ]

    def _load(self) -> None:
        for pod in self.pods:
            if _ready(pod) and not all(_is(pod, gate["conditionType"]) for gate in pod["spec"]["readinessGates"]):
                _set_condition(pod, "Ready", "False")
            if not pod["spec"]["nodeName"] or pod["metadata"].get("deletionTimestamp") or _ready(pod):
                continue
            pod["age"] = min(pod["age"] + 1, self.load_ticks + 1)
            if pod["metadata"]["labels"][labels.MODEL_VERSION] in self.crashing:
                waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
                pod["status"]["containerStatuses"] = [{"name": "model-server", "state": waiting, "restartCount": 3}]
            elif pod["age"] > self.load_ticks:
                pod["status"] |= {"phase": "Running", "podIP": "127.64.0.1"}
                _set_condition(pod, "ContainersReady", "True")
                if all(_is(pod, gate["conditionType"]) for gate in pod["spec"]["readinessGates"]):
                    _set_condition(pod, "Ready", "True")

    def _report(self, name: str, workload: dict[str, Any]) -> None:
        own = [pod for pod in self.pods if pod["deployment"] == name]
        alive = [pod for pod in own if not pod["metadata"].get("deletionTimestamp")]
        new = [pod for pod in alive if pod["template"] == workload["spec"]["template"]]
        ready = [pod for pod in alive if _ready(pod)]
        workload["status"] = {
            "observedGeneration": workload["metadata"]["generation"],
            "replicas": len(alive),
            "updatedReplicas": len(new),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
        }

    def settle(self, rounds: int = 60) -> None:
        """Let operator and cluster take turns until neither has anything left to do."""
        for _ in range(rounds):
            made = self.reconcile()
            moved = self.tick()
            if made.status is None and not made.actions and not moved:
                return
        raise AssertionError(f"not quiet after {rounds} rounds: {self.plan()}")


def _selector(workload: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    return found


def _ready(pod: dict[str, Any]) -> bool:
    return _is(pod, "Ready")


def _is(pod: dict[str, Any], kind: str) -> bool:
    conditions = pod["status"].get("conditions") or []
    return not pod["metadata"].get("deletionTimestamp") and any(
        one["type"] == kind and one["status"] == "True" for one in conditions
    )


def _set_condition(pod: dict[str, Any], kind: str, status: str, since: str = "") -> None:
    others = [one for one in pod["status"].get("conditions") or [] if one["type"] != kind]
    at = {"lastTransitionTime": since} if since else {}
    pod["status"]["conditions"] = [*others, {"type": kind, "status": status, **at}]


def _gpus(pod: dict[str, Any]) -> int:
    return int(pod["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", "0"))


def _pod(name: str, pod_labels: dict[str, str], gpus: int, node: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "production", "uid": f"uid-{name}", "labels": dict(pod_labels)},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "model-server", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}],
        },
        "status": {"phase": "Running" if node else "Pending"},
    }


def _amount(value: int | str, replicas: int) -> int:
    return value if isinstance(value, int) else int(value.rstrip("%")) * replicas // 100
