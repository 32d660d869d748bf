"""The operator in the simulation's cluster, in virtual time: for stories that look closely at one thing."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from plan_world import LLAMA
from vllm_page import IDLE_PAGE

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import Condition, find_condition
from outrider.api.modelrevision import ModelRevision
from outrider.controllers.config import GatewayConfig, OperatorConfig
from outrider.controllers.operator import Operator
from outrider.kube.api import Kind
from outrider.kube.objects import ENDPOINT_SLICE, EVENT, POD
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN
from outrider.local.store import StoreApi
from outrider.signals.gateway_reader import FetchPage
from outrider.signals.probe import ProbeResult
from outrider.signals.prober import ProbeFunction, ProbeTarget
from outrider.signals.scrape import ScrapeTarget
from outrider.sim.incidents import BadVersion, VersionFault
from outrider.sim.loop import LoopClock
from outrider.sim.world import NAMESPACE_NAME, World

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


class OperatorWorld(World):
    """Use as an async context manager; the operator is started by `start_operator`."""

    def __init__(
        self, *, nodes: int = 1, gpus: int = 8, seed: int = 1, gateway: bool = True, load_seconds: float = 5.0
    ) -> None:
        super().__init__(nodes=nodes, gpus=gpus, load_seconds=load_seconds, seed=seed)
        self.config = OperatorConfig(
            gateway=GatewayConfig("outrider", "outrider-system") if gateway else None,
            probe_interval=PROBE_SECONDS,
            drain_seconds=1,
        )
        self.operator_api: CountingApi | None = None
        self._operator: asyncio.Task[None] | None = None
        self.gateway_page: FetchPage | None = None
        """What the Gateway's metrics page says; None: nobody reads one."""
        self.gateway_probe: ProbeFunction | None = None
        """What requests through the Gateway say; None: none are sent."""
        self.shows_metrics: set[str] = set()
        """Versions whose servers show the counters of a server that nobody asks; the others show none."""

    async def __aexit__(self, *what: object) -> None:
        await self.stop_operator()
        await super().__aexit__(*what)

    # The operator

    def start_operator(self) -> CountingApi:
        api = CountingApi(StoreApi(self.store, user="outrider"))
        operator = Operator(
            api,
            self.clock,
            self.config,
            probe=self._probe,
            fetch=self._fetch,
            fetch_page=self.gateway_page,
            gateway_probe=self.gateway_probe,
        )
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
        error = self.kubelet.answers(target.key)
        return ProbeResult(ok=not error, at=self.clock.now(), latency_seconds=0.1, error=error)

    async def _fetch(self, target: ScrapeTarget) -> str:
        for pod in self.pods():
            meta = pod["metadata"]
            if meta["uid"] == target.key and meta["labels"].get(labels.MODEL_VERSION) in self.shows_metrics:
                return IDLE_PAGE
        raise OSError("nobody serves metrics here")

    # What happens

    def breaks(self, version: str, how: VersionFault, seconds: float = 1e9) -> None:
        """From now on every pod of the version has this fault."""
        self.kubelet.fault(BadVersion(at=self.clock.monotonic(), seconds=seconds, version=version, how=how))

    async def install(self, manifest: Mapping[str, Any] | None = None, **metadata: Any) -> None:
        body = msgspec.json.decode(msgspec.json.encode(manifest or LLAMA))
        body["metadata"] |= metadata
        await self.api.apply(LLM_DEPLOYMENT.into(dict), body, owner="kubectl")

    async def respec(self, spec: dict[str, Any], name: str = "llama") -> None:
        await self.api.patch(LLM_DEPLOYMENT.into(dict), name, {"spec": spec}, NAMESPACE_NAME)

    async def version(self, version: str, name: str = "llama") -> None:
        await self.respec({"model": {"version": version}}, name)

    async def pin_with(self, name: str = "llama", **spec: str) -> None:
        body = {**_type(VERSION_PIN), "metadata": {"name": name, "namespace": NAMESPACE_NAME}}
        await self.api.apply(
            VERSION_PIN.into(dict), body | {"spec": {"deployment": name, **spec}}, owner="outrider-cli"
        )

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


def _type(kind: Kind[Any]) -> dict[str, Any]:
    return {"apiVersion": kind.api_version, "kind": kind.kind}
