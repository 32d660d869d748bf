"""The operator on the local world's store and actors, in virtual time, with a kubelet that only pretends.

For stories that look closely at one thing; what crashes and faults do is simulated (`outrider.sim`).
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec
from plan_world import LLAMA
from virtual_kube import LoopClock

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import Condition, find_condition, format_time
from outrider.api.modelrevision import ModelRevision
from outrider.controllers.config import GatewayConfig, OperatorConfig
from outrider.controllers.operator import Operator
from outrider.kube.api import ApiError, Kind
from outrider.kube.objects import ENDPOINT_SLICE, EVENT, NAMESPACE, NODE, POD
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN
from outrider.local.actors import ActorSettings, run_actors
from outrider.local.store import Store, StoreApi
from outrider.signals.probe import ProbeResult
from outrider.signals.prober import ProbeTarget
from outrider.signals.scrape import ScrapeTarget

NAMESPACE_NAME = "production"
PROBE_SECONDS = 10.0


class CountingApi:
    """Passes everything on and counts writes, but for events."""

    def __init__(self, api: StoreApi) -> None:
        self._api = api
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._api, name)
        if name not in {"create", "apply", "patch", "patch_status", "delete"}:
            return method

        async def call(*arguments: Any, **options: Any) -> Any:
            result = await method(*arguments, **options)
            if arguments[0] != EVENT:
                self.writes.append(f"{name} {arguments[0].kind}")
            return result

        return call


async def until(condition: Callable[[], bool], deadline: float = 900.0) -> None:
    """Let virtual time pass, a quarter of a second at a time, until the condition holds."""
    clock = LoopClock()
    end = clock.monotonic() + deadline
    while not condition():
        assert clock.monotonic() < end, "it never came true"
        await clock.sleep(0.25)


class OperatorWorld:
    """Use as an async context manager; the operator is started by `start_operator`."""

    def __init__(self, *, nodes: int = 1, gpus: int = 8, seed: int = 1, gateway: bool = True) -> None:
        self.clock = LoopClock()
        self.store = Store(self.clock, rng=random.Random(seed))
        self.api = StoreApi(self.store, user="kubectl")
        self.config = OperatorConfig(
            gateway=GatewayConfig("outrider", "outrider-system") if gateway else None,
            probe_interval=PROBE_SECONDS,
            drain_seconds=1,
        )
        self.load_seconds = 5.0
        self.crashing: set[str] = set()
        """Versions whose containers end at once."""
        self.failing: set[str] = set()
        """Versions that answer every request with an error."""
        self.operator_api: CountingApi | None = None
        self._sizes = [gpus] * nodes
        self._tasks: list[asyncio.Task[Any]] = []
        self._operator: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.api.create(NAMESPACE.into(dict), {"metadata": {"name": NAMESPACE_NAME}, **_type(NAMESPACE)})
        for number, gpus in enumerate(self._sizes):
            await self.add_node(f"node-{number}", gpus)
        settings = ActorSettings(node_monitor_grace=1e9, seed=1)
        actors = StoreApi(self.store, user="actors")
        self._tasks = [
            asyncio.create_task(run_actors(actors, self.clock, settings)),
            asyncio.create_task(self._kubelet()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_operator()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    # The operator

    def start_operator(self) -> CountingApi:
        api = CountingApi(StoreApi(self.store, user="outrider"))
        operator = Operator(api, self.clock, self.config, probe=self._probe, fetch=self._fetch)
        self._operator = asyncio.create_task(operator.run())
        self.operator_api = api
        return api

    async def stop_operator(self) -> None:
        if self._operator is not None:
            self._operator.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._operator
            self._operator = None

    async def _probe(self, target: ProbeTarget) -> ProbeResult:
        pod = next((one for one in self.all(POD) if one["metadata"]["uid"] == target.key), None)
        version = pod["metadata"]["labels"][labels.MODEL_VERSION] if pod is not None else ""
        bad = pod is None or version in self.failing
        return ProbeResult(ok=not bad, at=self.clock.now(), latency_seconds=0.1, error="it answered 500" if bad else "")

    async def _fetch(self, _target: ScrapeTarget) -> str:
        raise OSError("nobody serves metrics here")

    # What people do

    async def apply(self, manifest: Mapping[str, Any] | None = None, **metadata: Any) -> None:
        body = msgspec.json.decode(msgspec.json.encode(manifest or LLAMA))
        body["metadata"] |= metadata
        await self.api.apply(LLM_DEPLOYMENT.into(dict), body, owner="kubectl")

    async def edit(self, spec: dict[str, Any], name: str = "llama") -> None:
        await self.api.patch(LLM_DEPLOYMENT.into(dict), name, {"spec": spec}, NAMESPACE_NAME)

    async def version(self, version: str, name: str = "llama") -> None:
        await self.edit({"model": {"version": version}}, name)

    async def pin(self, name: str = "llama", **spec: str) -> None:
        body = {**_type(VERSION_PIN), "metadata": {"name": name, "namespace": NAMESPACE_NAME}}
        await self.api.apply(
            VERSION_PIN.into(dict), body | {"spec": {"deployment": name, **spec}}, owner="outrider-cli"
        )

    async def unpin(self, name: str = "llama") -> None:
        await self.api.delete(VERSION_PIN, name, NAMESPACE_NAME)

    async def add_node(self, name: str, gpus: int) -> None:
        body = {**_type(NODE), "metadata": {"name": name, "labels": {labels.GPU_PRODUCT: "NVIDIA-A100-SXM4-40GB"}}}
        await self.api.create(NODE.into(dict), body)
        amounts = {"cpu": "96", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": self._time()}
        status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
        await self.api.patch_status(NODE.into(dict), name, status)

    # What is seen

    def all(self, kind: Kind[Any]) -> list[dict[str, Any]]:
        return [record.object() for record in self.store.table(kind).all()]

    def pods(self, name: str = "llama") -> list[dict[str, Any]]:
        return [pod for pod in self.all(POD) if pod["metadata"]["labels"].get(labels.DEPLOYMENT) == name]

    def ready_addresses(self) -> list[str]:
        """The pods that a gateway would send requests to, by name."""
        endpoints = [one for each in self.all(ENDPOINT_SLICE) for one in each.get("endpoints") or ()]
        return [one["targetRef"]["name"] for one in endpoints if one["conditions"]["ready"]]

    def deployment(self, name: str = "llama") -> LLMDeployment:
        record = self.store.table(LLM_DEPLOYMENT).get(NAMESPACE_NAME, name)
        assert record is not None
        return msgspec.json.decode(msgspec.json.encode(record.object()), type=LLMDeployment)

    def condition(self, kind: str, name: str = "llama") -> Condition:
        return find_condition(self.deployment(name).status.conditions, kind) or Condition()

    def is_ready(self, version: str, name: str = "llama") -> bool:
        """As `kubectl wait --for=condition=Ready` sees it, for this generation and version."""
        deployment = self.deployment(name)
        status, ready = deployment.status, self.condition("Ready", name)
        return status.observed_generation == deployment.metadata.generation and (
            ready.status,
            status.effective_version,
            status.serving_version,
        ) == ("True", version, version)

    def revisions(self, name: str = "llama") -> dict[str, ModelRevision]:
        found = [msgspec.convert(one, ModelRevision) for one in self.all(MODEL_REVISION)]
        return {one.spec.version: one for one in found if one.spec.deployment == name}

    async def until_ready(self, version: str, name: str = "llama") -> None:
        await until(lambda: self.is_ready(version, name))

    async def until_quiet(self, seconds: float = 120.0) -> None:
        """Nothing is written by the operator for so long, twice the time that an answer to a probe counts."""
        assert self.operator_api is not None
        for _ in range(20):
            before = len(self.operator_api.writes)
            await self.clock.sleep(seconds)
            if len(self.operator_api.writes) == before:
                return
        raise AssertionError(f"never quiet: {self.operator_api.writes[-20:]}")

    # The kubelet

    async def _kubelet(self) -> None:
        started: dict[str, float] = {}
        while True:
            for pod in self.all(POD):
                with contextlib.suppress(ApiError):
                    await self._look_after(pod, started)
            await self.clock.sleep(0.5)

    async def _look_after(self, pod: dict[str, Any], started: dict[str, float]) -> None:
        meta = pod["metadata"]
        if not pod["spec"].get("nodeName"):
            return
        if meta.get("deletionTimestamp"):
            if started.setdefault(f"{meta['uid']} ends", self.clock.monotonic()) + 1.5 <= self.clock.monotonic():
                await self.api.delete(POD, meta["name"], meta["namespace"], uid=meta["uid"], grace_seconds=0)
            return
        age = self.clock.monotonic() - started.setdefault(meta["uid"], self.clock.monotonic())
        version = meta["labels"][labels.MODEL_VERSION]
        status = self._crashed() if version in self.crashing else self._running(pod, age >= self.load_seconds)
        before = pod.get("status") or {}
        known = {one["type"]: one["status"] for one in before.get("conditions") or ()}
        new = {one["type"]: one["status"] for one in status["conditions"]}
        if before.get("containerStatuses") != status["containerStatuses"] or known | new != known:
            await self.api.patch(
                POD.into(dict), meta["name"], {"status": status}, meta["namespace"],
                patch_type="strategic", subresource="status",
            )  # fmt: skip

    def _running(self, pod: dict[str, Any], up: bool) -> dict[str, Any]:
        conditions = (pod.get("status") or {}).get("conditions") or ()
        opened = {one["type"] for one in conditions if one["status"] == "True"}
        gates = {gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()}
        container = {"name": "model-server", "ready": up, "restartCount": 0, "image": "", "imageID": ""}
        return {
            "phase": "Running", "podIP": "127.64.0.9",
            "conditions": [self._condition("ContainersReady", up), self._condition("Ready", up and gates <= opened)],
            "containerStatuses": [container | {"state": {"running": {}}}],
        }  # fmt: skip

    def _condition(self, kind: str, value: bool) -> dict[str, Any]:
        return {"type": kind, "status": "True" if value else "False", "lastTransitionTime": self._time()}

    def _crashed(self) -> dict[str, Any]:
        condition = self._condition("Ready", False)
        container = {"name": "model-server", "ready": False, "restartCount": 3, "image": "", "imageID": ""}
        states = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}
        return {"phase": "Running", "conditions": [condition], "containerStatuses": [container | states]}

    def _time(self) -> str:
        return format_time(self.clock.now())


def _type(kind: Kind[Any]) -> dict[str, Any]:
    return {"apiVersion": kind.api_version, "kind": kind.kind}
