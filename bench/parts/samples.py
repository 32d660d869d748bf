"""What `bench/store.py` stores: LLMDeployments as people write them, and pods as operator and kubelet make them."""

import copy
import time
from pathlib import Path
from typing import Any

import yaml

from outrider.api.parse import parse_spec
from outrider.local.kubelet.status import ContainerView, PodView, pod_status
from outrider.plan.deployment.pod import pod_template
from outrider.plan.deployment.revision import revision_spec
from outrider.plan.deployment.snapshot import PlanConfig

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "llama-3.1-8b.yaml"
NAMESPACE = "default"
Body = dict[str, Any]


class LLMDeployments:
    """`examples/llama-3.1-8b.yaml` under other names."""

    def __init__(self) -> None:
        self._manifest: Body = yaml.safe_load(EXAMPLE.read_text())

    def body(self, number: int) -> Body:
        body = copy.deepcopy(self._manifest)
        body["metadata"] |= {"name": f"model-{number:05}", "namespace": NAMESPACE}
        body["metadata"]["labels"]["team"] = f"team-{number % 100}"
        return body

    def patch(self, turn: int) -> Body:
        return {"spec": {"model": {"version": f"v2.0.{turn}"}}}

    def status(self, stored: Body, turn: int) -> Body:
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Available",
            "message": f"{turn + 2} replicas answer",
            "lastTransitionTime": "2026-11-23T12:00:00Z",
        }
        return {
            "observedGeneration": stored["metadata"]["generation"],
            "replicas": turn + 2,
            "readyReplicas": turn + 2,
            "phase": "Ready",
            "conditions": [condition],
        }


class Pods:
    """The pods of that LLMDeployment: the operator's template, a ReplicaSet's metadata, the kubelet's status."""

    def __init__(self) -> None:
        manifest = yaml.safe_load(EXAMPLE.read_text())
        name, config = manifest["metadata"]["name"], PlanConfig()
        spec = parse_spec(manifest["spec"], name=name, namespace=NAMESPACE).spec
        assert spec is not None
        self._template = pod_template(name, spec, revision_spec(name, spec, config.engine_image), config)
        self._owner = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": f"{name}-7d9c5b8f6c",
            "uid": "6a1f1d3e-1111-4222-8333-444455556666",
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def body(self, number: int) -> Body:
        template = copy.deepcopy(self._template)
        metadata = template["metadata"] | {"name": f"pod-{number:05}", "namespace": NAMESPACE}
        metadata["labels"]["team"] = f"team-{number % 100}"
        metadata["ownerReferences"] = [self._owner]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}

    def patch(self, turn: int) -> Body:
        return {"metadata": {"annotations": {"example.com/turn": str(turn)}}}

    def status(self, stored: Body, turn: int) -> Body:
        now = time.time()
        container = ContainerView(
            name=stored["spec"]["containers"][0]["name"],
            image=stored["spec"]["containers"][0]["image"],
            restart_count=turn,
            container_id=f"process://{turn}",
            started=True,
            ready=True,
            running_since=now,
        )
        view = PodView(
            pod=stored, address="127.0.0.2", host_address="127.0.0.1", start_time=now, init=(), main=(container,)
        )
        return pod_status(view, now)
