"""A service in the middle of a release, as the operator would report it; and its objects in a store."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from outrider.api.labels import API_VERSION, DEPLOYMENT
from outrider.api.llmdeployment import (
    IndicatorStatus,
    LLMDeployment,
    LLMDeploymentStatus,
    ReleaseStatus,
    RollbackStatus,
    StepStatus,
    TrafficStatus,
)
from outrider.api.meta import Condition, ObjectMeta
from outrider.api.modelrevision import ModelRevision, ModelRevisionSpec, ModelRevisionStatus, Rejection
from outrider.kube.api import Kind
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import load_kubeconfig
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION

STARTED = "2023-11-14T22:13:20Z"
STARTED_AT = 1_700_000_000.0
"""The same in seconds."""

CANARY = ReleaseStatus(
    revision="bbbb",
    version="v2.0.0",
    stable_revision="aaaa",
    stable_version="v1.0.0",
    started_time=STARTED,
    strategy="Canary",
    stage="Canary",
    steps=(StepStatus(10, 600.0), StepStatus(50, 1800.0)),
    step=0,
    step_since="2023-11-14T22:15:00Z",
    weight=10,
    waits_for="its time",
    verdict="Watching",
    reason="AwaitingTime",
    message="v2.0.0 is no worse so far.",
    indicators=(
        IndicatorStatus("errors", None, 1.0, 120.0, 3.0, 2000.0),
        IndicatorStatus("firstToken", 2.0, 4.0, 119.0, 60.0, 1997.0),
    ),
    p_value=0.42,
    evidence="{}",
)
"""A canary with a tenth of the traffic."""
PREVIEW = msgspec.structs.replace(
    CANARY, strategy="BlueGreen", stage="Preview", steps=(StepStatus(0, 60.0),), weight=0
)  # fmt: skip
"""A new version that runs and has no traffic."""
ROLLING = msgspec.structs.replace(
    CANARY, strategy="RollingUpdate", stage="Rollout", steps=(), step_since="", weight=0, waits_for=""
)  # fmt: skip
"""A rolling update."""
STANDBY = msgspec.structs.replace(
    CANARY,
    stage="Standby",
    step=2,
    step_since="",
    weight=100,
    waits_for="",
    standby_until="2023-11-14T23:13:20Z",
)
"""A canary that has taken all traffic; the old version is kept loaded."""

DIVIDED = TrafficStatus("aaaa", "bbbb", 10, "llama-bbbb")
REJECTION = Rejection(
    time="2023-11-14T22:20:00Z",
    reason="ErrorsWorse",
    message="v2.0.0: 14 of 62 failed, v1.0.0: 1 of 2000.",
    fallback="aaaa",
)


def status(
    release: ReleaseStatus | None = CANARY,
    *,
    traffic: TrafficStatus | None = DIVIDED,
    ready: bool = False,
    effective: str = "bbbb",
    **more: Any,
) -> LLMDeploymentStatus:
    """Of the service while it is released."""
    what = "4 replicas serve." if ready else "Step 1 of 2: 10 % of the traffic. It waits for its time."
    condition = Condition("Ready", "True" if ready else "False", "R", what, observed_generation=1)
    versions = {"aaaa": "v1.0.0", "bbbb": "v2.0.0"}
    told: dict[str, Any] = {
        "observed_generation": 1,
        "phase": "Ready" if ready else "Progressing",
        "ready": "4/4",
        "desired_version": "v2.0.0",
        "desired_revision": "bbbb",
        "effective_version": versions[effective],
        "effective_revision": effective,
        "gpus": "5",
        "cost_per_hour": "$10.00",
        "rollback": RollbackStatus(True, "v1.0.0", "aaaa", "Warm", 5.0, "Warm: only the traffic has to move."),
        "release": release,
        "traffic": traffic,
        "conditions": (condition,),
    }
    return LLMDeploymentStatus(**{**told, **more})


def service(release: ReleaseStatus | None = CANARY, **how: Any) -> LLMDeployment:
    return LLMDeployment(
        metadata=ObjectMeta(name="llama", namespace="production", generation=1), status=status(release, **how)
    )


def revision(
    hash_: str = "bbbb", *, said: dict[str, str] | None = None, state: ModelRevisionStatus | None = None
) -> ModelRevision:
    """The ModelRevision of v1.0.0 (`aaaa`) or of v2.0.0, with annotations."""
    version, sequence = {"aaaa": ("v1.0.0", 1), "bbbb": ("v2.0.0", 2)}[hash_]
    return ModelRevision(
        metadata=ObjectMeta(name=f"llama-{hash_}", namespace="production", annotations=said or {}),
        spec=ModelRevisionSpec(
            deployment="llama", sequence=sequence, hash=hash_, version=version, model_uri="hf://a/b", image="i"
        ),
        status=state or ModelRevisionStatus(),
    )


SERVICE_BODY = {
    "apiVersion": API_VERSION,
    "kind": "LLMDeployment",
    "metadata": {"name": "llama", "namespace": "production"},
    "spec": {"model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": "v2.0.0"}},
}


class Cluster:
    """Writes into a cluster what its operator would."""

    def __init__(self, kubeconfig: Path) -> None:
        self._path = kubeconfig

    def call(self, method: str, *arguments: Any, **more: Any) -> Any:
        """Call a method of the Api."""

        async def work() -> Any:
            api = HttpApi(load_kubeconfig([self._path]))
            try:
                return await getattr(api, method)(*arguments, **more)
            finally:
                await api.close()

        return asyncio.run(work())

    def has(self, told: LLMDeploymentStatus, *revisions: ModelRevision) -> None:
        """Make the service, its status and its revisions."""
        self.call("create", LLM_DEPLOYMENT, SERVICE_BODY)
        self.reports(told)
        for one in revisions:
            metadata = {
                "name": one.metadata.name,
                "namespace": "production",
                "labels": {DEPLOYMENT: "llama"},
                "annotations": one.metadata.annotations,
            }
            spec = msgspec.to_builtins(one.spec)
            body = {"apiVersion": API_VERSION, "kind": "ModelRevision", "metadata": metadata, "spec": spec}
            self.call("create", MODEL_REVISION, body)
            self._patch_status(MODEL_REVISION, one.metadata.name, one.status)

    def reports(self, told: LLMDeploymentStatus) -> None:
        """The operator says this of the service."""
        self._patch_status(LLM_DEPLOYMENT, "llama", told)

    def _patch_status(self, kind: Kind[Any], name: str, told: Any) -> None:
        self.call("patch_status", kind, name, msgspec.to_builtins(told), "production")

    def said(self, name: str = "llama-bbbb") -> dict[str, str]:
        """The annotations of a ModelRevision."""
        found: ModelRevision = self.call("get", MODEL_REVISION, name, "production")
        return found.metadata.annotations
