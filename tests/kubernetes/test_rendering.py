"""What Outrider renders, before the API server: it is taken as it is, `outrider plan` prints it, kubectl agrees."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from control_plane import RunningPlane, running_plane
from extra_crds import extra_crds, gateway_api

from outrider.controllers.config import GatewayConfig, OperatorConfig
from outrider.controllers.operator import Operator
from outrider.controllers.published import publish
from outrider.kube.api import Api, NotFound
from outrider.kube.clock import SystemClock
from outrider.kube.http import HttpApi
from outrider.kube.objects import DEPLOYMENT, HTTP_ROUTE, INFERENCE_POOL, POD, SERVICE_MONITOR
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan.monitoring import NAME as MONITOR

ROOT = Path(__file__).resolve().parents[2]
MODEL = {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": "v1.2.0"}
CONFIG = OperatorConfig(
    gateway=GatewayConfig("front", "infra", base_url="http://192.0.2.7", inference_pool=True), probe_interval=60.0
)
SYSTEM = "outrider-system"
PATIENCE = 60.0


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition, and give its value."""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                value = condition()
                if isinstance(value, Awaitable):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not in time: {what}") from None


def manifest(namespace: str, name: str = "llama-3.1-8b", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": LLM_DEPLOYMENT.api_version,
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": dict(MODEL), "replicas": 2} | spec,
    }


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """A control plane of its own: which kinds a cluster has is what is tested here."""
    with running_plane(tmp_path_factory.mktemp("rendering")) as running:
        for folder in (ROOT / "deploy" / "crds", gateway_api(running.programs), extra_crds("inference-extension")):
            running.kubectl("apply", "--server-side", "-f", str(folder))
        running.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        for namespace in (SYSTEM, "infra"):
            running.kubectl("create", "namespace", namespace)
        yield running


@asynccontextmanager
async def operator(plane: RunningPlane, config: OperatorConfig = CONFIG) -> AsyncIterator[tuple[HttpApi, Operator]]:
    async with HttpApi(plane.config) as api:
        await publish(api, config.for_plans(), SYSTEM)
        running = Operator(api, SystemClock(), config)
        task = asyncio.create_task(running.run())
        try:
            yield api, running
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def there(api: Api, kind: Any, name: str, namespace: str) -> dict[str, Any]:
    """The object, once there is one."""

    async def found() -> dict[str, Any] | None:
        try:
            return await api.get(kind.into(dict), name, namespace)
        except NotFound:
            return None

    return dict(await until(found, f"{kind.kind} {namespace}/{name}"))


def outrider(plane: RunningPlane, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "outrider", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "KUBECONFIG": str(plane.kubeconfig), "HOME": str(plane.folder)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def create(plane: RunningPlane, namespace: str, *manifests: dict[str, Any]) -> None:
    plane.kubectl("create", "namespace", namespace)
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(manifests))


def kinds(text: str) -> list[str]:
    return [document["kind"] for document in yaml.safe_load_all(text)]


def test_kubectl_diff_sees_nothing_once_the_plan_is_carried_out_and_the_change_before(
    plane: RunningPlane, tmp_path: Path
) -> None:
    namespace, name = "diffed", "llama-3.1-8b"
    create(plane, namespace, manifest(namespace))

    async def applied() -> None:
        async with operator(plane) as (api, _):
            await there(api, DEPLOYMENT, name, namespace)
            await there(api, HTTP_ROUTE, "llama-3-1-8b.path", namespace)

    asyncio.run(applied())
    printed = outrider(plane, "plan", name, "--namespace", namespace, "--output", "yaml")
    assert kinds(printed) == [
        "ModelRevision", "Service", "HTTPRoute", "HTTPRoute", "PodDisruptionBudget", "Deployment",
    ]  # fmt: skip
    assert "status:" not in printed
    same = plane.kubectl("diff", "-f", "-", stdin=printed, check=False)
    assert (same.returncode, same.stdout) == (0, ""), same.stdout + same.stderr
    plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=printed)

    release = tmp_path / "release.yaml"
    release.write_text(yaml.safe_dump(manifest(namespace, model=MODEL | {"version": "v1.3.0"})))
    planned = outrider(plane, "plan", "--filename", str(release), "--output", "yaml")
    changed = plane.kubectl("diff", "-f", "-", stdin=planned, check=False)
    assert changed.returncode == 1
    assert "--revision=v1.3.0" in changed.stdout
    lines = [line for line in changed.stdout.splitlines() if line.startswith(("+ ", "- "))]
    assert not [line for line in lines if "replicas" in line], "only what changes"


SPECS: dict[str, dict[str, Any]] = {
    "the least that can be said": {},
    "an endpoint picker": {"scheduling": {"scheduler": "llm-d-inference-scheduler", "priorityClassName": "urgent"}},
    "a model in a claim, on several GPUs": {
        "model": {"modelUri": "pvc://weights/llama", "version": "v1.2.0"},
        "resources": {"requests": {"nvidia.com/gpu": "4"}},
    },
    "a model in an image, a root file system that cannot be written": {
        "model": {"modelUri": "oci://registry.example.com/llama:v1", "version": "v1.2.0"},
        "security": {"readOnlyRootFilesystem": True},
    },
    "not scraped, and at most half away": {
        "monitoring": {"enabled": False},
        "disruption": {"maxUnavailable": "50%"},
    },
}


@pytest.mark.parametrize("sentence", SPECS)
def test_the_api_server_takes_what_would_be_made_of_it(plane: RunningPlane, tmp_path: Path, sentence: str) -> None:
    """Also of what is not stored yet; and the pods may run in a namespace that is restricted."""
    namespace = f"taken-{list(SPECS).index(sentence)}"
    plane.kubectl("create", "namespace", namespace)
    plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    file = tmp_path / "model.yaml"
    file.write_text(yaml.safe_dump(manifest(namespace, **SPECS[sentence])))
    asyncio.run(_publish(plane))
    printed = outrider(plane, "plan", "--filename", str(file), "--output", "yaml")
    plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=printed)
    for document in yaml.safe_load_all(printed):
        if document["kind"] == "Deployment":
            template = dict(document["spec"]["template"])
            template["spec"] = template["spec"] | {"serviceAccountName": "default"}
            template["spec"].pop("priorityClassName", None)
            pod = {"apiVersion": "v1", "kind": "Pod", **template}
            pod["metadata"] = pod["metadata"] | {"name": "one", "namespace": namespace}
            plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))


async def _publish(plane: RunningPlane) -> None:
    async with HttpApi(plane.config) as api:
        await publish(api, CONFIG.for_plans(), SYSTEM)


def test_a_picker_is_set_up_and_cleared_away(plane: RunningPlane) -> None:
    namespace = "picked"
    asked = manifest(namespace, scheduling={"scheduler": "llm-d-inference-scheduler"})
    create(plane, namespace, asked)

    async def story() -> None:
        async with operator(plane) as (api, _):
            pool = await there(api, INFERENCE_POOL, "llama-3-1-8b", namespace)
            assert pool["spec"]["endpointPickerRef"]["failureMode"] == "FailOpen"
            await there(api, DEPLOYMENT, "llama-3-1-8b-epp", namespace)
            route = await there(api, HTTP_ROUTE, "llama-3-1-8b", namespace)
            assert _backend(route) == "Service", "no picker is up: nothing leads to the pool"
            await _bring_up(api, namespace, "inference.llm-d.io/endpoint-picker=llama-3.1-8b")
            await until(lambda: _leads_to(api, namespace, "InferencePool"), "requests go to the pool")
            await api.patch(LLM_DEPLOYMENT.into(dict), "llama-3.1-8b", {"spec": {"scheduling": None}}, namespace)
            await until(lambda: _leads_to(api, namespace, "Service"), "requests go to the Service")
            await until(lambda: _gone(api, INFERENCE_POOL, "llama-3-1-8b", namespace), "the pool goes")
            await until(lambda: _gone(api, DEPLOYMENT, "llama-3-1-8b-epp", namespace), "the picker goes")

    asyncio.run(story())


async def _bring_up(api: HttpApi, namespace: str, selector: str) -> None:
    """What a scheduler and a kubelet would do with the one pod: there is neither here."""

    async def pods() -> Any:
        return (await api.list(POD, namespace, labels=selector)).items

    (pod, *_) = await until(pods, "the pod is created")
    name = pod.metadata.name
    target = {"apiVersion": "v1", "kind": "Node", "name": "nowhere"}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    await api.raw("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", body=body)
    status = {"phase": "Running", "podIP": "10.1.1.1", "conditions": [{"type": "Ready", "status": "True"}]}
    patch = {"status": status}
    await api.patch(POD.into(dict), name, patch, namespace, patch_type="strategic", subresource="status")


def _backend(route: dict[str, Any]) -> str:
    return str(route["spec"]["rules"][0]["backendRefs"][0]["kind"])


async def _leads_to(api: Api, namespace: str, kind: str) -> bool:
    return _backend(await api.get(HTTP_ROUTE.into(dict), "llama-3-1-8b", namespace)) == kind


async def _gone(api: Api, kind: Any, name: str, namespace: str) -> bool:
    try:
        await api.get(kind.into(dict), name, namespace)
    except NotFound:
        return True
    return False


def test_metrics_are_scraped_as_soon_as_the_cluster_can_and_no_longer_than_wanted(plane: RunningPlane) -> None:
    namespace = "scraped"
    create(plane, namespace, manifest(namespace, "one"), manifest(namespace, "two"))
    plain = OperatorConfig(probe_interval=60.0, monitor_labels={"release": "stack"})
    definition = extra_crds("prometheus-operator") / "monitoring.coreos.com_servicemonitors.yaml"

    async def story() -> None:
        async with operator(plane, plain) as (api, running):
            await there(api, DEPLOYMENT, "two", namespace)
            assert running.caches.discovery.has(SERVICE_MONITOR) is False
            plane.kubectl("apply", "--server-side", "-f", str(definition))
            await until(lambda: _sees_monitors(running), "the new kind is noticed")
            monitor = await there(api, SERVICE_MONITOR, MONITOR, namespace)
            assert monitor["metadata"]["labels"]["release"] == "stack"
            printed = outrider(plane, "plan", "one", "--namespace", namespace, "--output", "yaml")
            assert kinds(printed)[-1] == "ServiceMonitor"
            same = plane.kubectl("diff", "-f", "-", stdin=printed, check=False)
            assert (same.returncode, same.stdout) == (0, ""), same.stdout + same.stderr
            patch = {"spec": {"monitoring": {"serviceMonitor": {"interval": "10s"}}}}
            await api.patch(LLM_DEPLOYMENT.into(dict), "one", patch, namespace)
            await until(lambda: _interval(api, namespace, "10s"), "the shortest interval counts")
            await api.delete(LLM_DEPLOYMENT, "one", namespace)
            await until(lambda: _interval(api, namespace, "30s"), "the other one's interval counts again")
            await api.delete(LLM_DEPLOYMENT, "two", namespace)
            await until(lambda: _gone(api, SERVICE_MONITOR, MONITOR, namespace), "nobody is left to be scraped")

    asyncio.run(story())


async def _sees_monitors(running: Operator) -> bool:
    await running.caches.discovery.look()
    return running.caches.discovery.has(SERVICE_MONITOR) is True


async def _interval(api: Api, namespace: str, expected: str) -> bool:
    monitor = await api.get(SERVICE_MONITOR, MONITOR, namespace)
    return bool(monitor["spec"]["endpoints"][0]["interval"] == expected)


def test_an_operator_that_starts_again_has_nothing_to_write(plane: RunningPlane) -> None:
    """Discovery, too, costs no writes: the audit log has none by the operator while it looks at what is settled."""
    namespace = "settled"
    create(plane, namespace, manifest(namespace))

    async def settle() -> None:
        async with operator(plane) as (api, _):
            await there(api, DEPLOYMENT, "llama-3.1-8b", namespace)
            await until(lambda: _observed(api, namespace), "the status is written")

    asyncio.run(settle())
    before = len(_writes(plane, namespace))

    async def again() -> None:
        async with operator(plane) as (api, running):
            probe = manifest(namespace, "probe")
            await until(running.caches.deployments.members[0].synced.is_set, "the caches are filled")
            await api.create(LLM_DEPLOYMENT.into(dict), probe)
            await there(api, DEPLOYMENT, "probe", namespace)  # whatever was queued before has had its turn

    asyncio.run(again())
    since = _writes(plane, namespace)[before:]
    assert [one for one in since if "probe" not in one and "llama" in one] == []


async def _observed(api: Api, namespace: str) -> bool:
    """Whether the status tells of both pods, which wait for a node."""
    status = (await api.get(LLM_DEPLOYMENT, "llama-3.1-8b", namespace)).status
    return status.observed_generation == 1 and status.updated_replicas == 2


def _writes(plane: RunningPlane, namespace: str) -> list[str]:
    """`VERB KIND NAME` of every write to the namespace that came from a Python client."""
    verbs = {"create", "update", "patch", "delete"}
    return [
        f"{event['verb']} {event['objectRef'].get('resource')} {event['objectRef'].get('name')}"
        for event in plane.audit()
        if event["verb"] in verbs
        and event.get("objectRef", {}).get("namespace") == namespace
        and event.get("userAgent", "").startswith("outrider")
    ]


def test_the_examples_can_be_built_with_kustomize(plane: RunningPlane) -> None:
    built = plane.kubectl("kustomize", str(ROOT / "examples")).stdout
    assert kinds(built) == ["LLMDeployment", "LLMDeployment"]
    plane.kubectl("create", "namespace", "production")
    plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=built)
