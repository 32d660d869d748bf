"""The operator's account against the API server's audit log: nothing it needs is denied, nothing it may is unused.

The operator is `outrider operator`, with the arguments of the installed Deployment and a token of its service account;
the pods that it looks after are processes of a kubelet on the same control plane.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from control_plane import RunningPlane
from extra_crds import extra_crds, gateway_api
from lost_gpus import gpus_of, lose_gpus

from outrider.api.labels import API_VERSION, GROUP
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import find_condition
from outrider.controllers.act import execute
from outrider.kube.api import ApiError, Forbidden, Kind, NotFound
from outrider.kube.clock import SystemClock
from outrider.kube.events import COUNT_SECONDS, EventRecorder
from outrider.kube.http import HttpApi
from outrider.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    INFERENCE_POOL,
    LEASE,
    NODE,
    POD,
    POD_DISRUPTION_BUDGET,
    ROLE_BINDING,
    SECRET,
    SERVICE,
)
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION
from outrider.plan.actions import Create, Plan
from outrider.plan.install.permissions import PERMISSIONS, Permission
from outrider.plan.install.settings import DEFAULT_NAMESPACE

from .kubelet_world import KubeletWorld, kubelet_world, until
from .operator_account import Account, outrider

pytestmark = pytest.mark.xdist_group("cluster-scoped")

USER = f"system:serviceaccount:{DEFAULT_NAMESPACE}:outrider-operator"
_GIVEN_ON = "an endpoint picker gets it, and only who may do something can give it to others"
NEVER_IN_THE_LOG = {
    ("llmdeployments/finalizers", "update"): "an admission plugin asks for it, and not by a request of its own",
    ("pods", "get"): _GIVEN_ON,
    ("inferencepools", "get"): _GIVEN_ON,
    **{
        (resource, verb): _GIVEN_ON
        for resource in ("inferenceobjectives", "inferencemodelrewrites")
        for verb in ("get", "list", "watch")
    },
}
"""Permissions that the audit log cannot show to be used, and why."""


class Used(NamedTuple):
    """A permission as a request needed it."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str


@pytest.fixture
def plane(cluster_scoped: RunningPlane) -> RunningPlane:
    """With all kinds that the operator writes where there are any."""
    scrapes = extra_crds("prometheus-operator") / "monitoring.coreos.com_servicemonitors.yaml"
    for manifests in (gateway_api(cluster_scoped.programs), extra_crds("inference-extension"), scrapes):
        cluster_scoped.kubectl("apply", "--server-side", "-f", str(manifests))
    cluster_scoped.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    return cluster_scoped


@asynccontextmanager
async def _node(plane: RunningPlane, folder: Path, name: str, *, gpus: int) -> AsyncIterator[KubeletWorld]:
    """A node with its pods, that is gone afterwards: nothing must be scheduled onto one whose kubelet has ended."""
    try:
        async with kubelet_world(plane, folder, name, gpus=gpus) as world:
            yield world
    finally:
        await asyncio.to_thread(plane.kubectl, "delete", "node", name)


def _manifest(namespace: str, name: str, version: str, replicas: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": version},
            "replicas": replicas,
            "resources": {"requests": {"nvidia.com/gpu": "1"}},
            "rollback": {"autoRollback": {"enabled": False}},
        },
    }


async def _apply(world: KubeletWorld, name: str, version: str, replicas: int = 1) -> None:
    body = _manifest(world.namespace, name, version, replicas)
    await world.admin.apply(LLM_DEPLOYMENT.into(dict), body, owner="somebody")


async def _serves(world: KubeletWorld, name: str, version: str) -> None:
    async def ready() -> bool:
        found: LLMDeployment = await world.admin.get(LLM_DEPLOYMENT, name, world.namespace)
        condition = find_condition(found.status.conditions, "Ready")
        return (
            condition is not None
            and condition.status == "True"
            and found.status.observed_generation == found.metadata.generation
            and found.status.effective_version == version
        )

    await until(ready, f"{name} serves {version}")


async def _knows(world: KubeletWorld, name: str, version: str) -> None:
    async def seen() -> bool:
        found: LLMDeployment = await world.admin.get(LLM_DEPLOYMENT, name, world.namespace)
        return found.status.effective_version == version

    await until(seen, f"{name} is to be {version}")


async def _gone(world: KubeletWorld, name: str) -> None:
    async def gone() -> bool:
        pods = await world.admin.list(POD, world.namespace, labels=f"{GROUP}/deployment={name}")
        try:
            await world.admin.get(LLM_DEPLOYMENT, name, world.namespace)
        except NotFound:
            return not pods.items
        return False

    await until(gone, f"{name} and its pods are gone")


async def _release_and_roll_back(world: KubeletWorld) -> None:
    """What people do with a service, from its first manifest to its end."""
    where = ("--namespace", world.namespace)
    await _apply(world, "llama", "v1.0.0")
    await _serves(world, "llama", "v1.0.0")
    await _apply(world, "llama", "v1.1.0")
    await _serves(world, "llama", "v1.1.0")
    await outrider(world.plane, "rollback", "llama", *where)
    await _serves(world, "llama", "v1.0.0")
    await outrider(world.plane, "unpin", "llama", *where)
    await _serves(world, "llama", "v1.1.0")
    await outrider(world.plane, "rollback", "llama", *where, "--drill")
    await _release_by_steps(world)
    await world.admin.delete(LLM_DEPLOYMENT, "llama", world.namespace)
    await _gone(world, "llama")


async def _release_by_steps(world: KubeletWorld) -> None:
    """A canary, after which neither the Deployment before it nor the candidate's Service is there any more."""
    canary = {"rolloutStrategy": "Canary", "canary": {"steps": [{"weight": 50, "duration": "1s"}]}}
    released = {"model": {"version": "v1.2.0"}, "deployment": canary, "rollback": {"standby": "0s"}}
    counted = {"rollback": {"autoRollback": {"minRequests": 0}}}
    for spec in (counted, released):
        await world.admin.patch(LLM_DEPLOYMENT.into(dict), "llama", {"spec": spec}, world.namespace)
    await _serves(world, "llama", "v1.2.0")

    async def cleared() -> bool:
        selector = f"{GROUP}/deployment=llama"
        listed = [await world.admin.list(kind, world.namespace, labels=selector) for kind in (DEPLOYMENT, SERVICE)]
        return [len(one.items) for one in listed] == [1, 1]

    await until(cleared, "what the release took is gone")


async def _lose_a_gpu(world: KubeletWorld) -> None:
    """The only replica of a service crashes on a lost GPU, until it is made anew on another."""
    await _apply(world, "unlucky", "v1.0.0")
    await _serves(world, "unlucky", "v1.0.0")

    async def pods() -> list[dict[str, Any]]:
        return list(
            (await world.admin.list(POD.into(dict), world.namespace, labels=f"{GROUP}/deployment=unlucky")).items
        )

    [struck] = await pods()
    lose_gpus(world.folder, world.node.name, gpus_of(struck))

    async def replaced() -> bool:
        return {pod["metadata"]["uid"] for pod in await pods()}.isdisjoint({struck["metadata"]["uid"]})

    await until(replaced, "the pod is made anew")
    await _serves(world, "unlucky", "v1.0.0")
    assert [set(gpus_of(pod).values()) for pod in await pods()] == [{"Healthy"}]
    await world.admin.delete(LLM_DEPLOYMENT, "unlucky", world.namespace)
    await _gone(world, "unlucky")


async def _many_revisions(world: KubeletWorld) -> None:
    """More of them than the history keeps."""
    for number in range(13):
        await _apply(world, "many", f"v0.{number}.0", replicas=0)
        await _knows(world, "many", f"v0.{number}.0")

    async def pruned() -> bool:
        return len((await world.admin.list(MODEL_REVISION, world.namespace)).items) < 13

    await until(pruned, "old revisions are deleted")


async def _after_a_crash(world: KubeletWorld, account: Account) -> None:
    """What the operator's own code does only where an answer got lost, or half a minute passed."""
    async with HttpApi(await account.config()) as api:
        owner: LLMDeployment = await world.admin.get(LLM_DEPLOYMENT, "many", world.namespace)
        stored = (await world.admin.list(MODEL_REVISION.into(dict), world.namespace)).items[0]
        body = {
            "apiVersion": API_VERSION,
            "kind": MODEL_REVISION.kind,
            "metadata": {key: stored["metadata"][key] for key in ("name", "namespace")},
            "spec": stored["spec"],
        }
        await execute(api, Plan(actions=(Create(body=body, why="again"),)), LLM_DEPLOYMENT, owner.metadata)
        recorder = EventRecorder(api, _Impatient(), controller=f"{GROUP}/outrider", instance="operator-0")
        running = asyncio.create_task(recorder.run())
        for times in (1, 2):
            recorder.event(LLM_DEPLOYMENT, owner, "Normal", "Tested", "this happened", action="Tested")
            await until(partial(_was_told, world, times), "the event is written")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _was_told(world: KubeletWorld, times: int) -> bool:
    listed = await world.admin.list(EVENT, world.namespace)
    return [(one.series or {}).get("count", 1) for one in listed.items if one.reason == "Tested"] == [times]


class _Impatient(SystemClock):
    """A clock on which the time between two writes of an event's count passes as soon as it is waited for."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        self._ahead += min(seconds, COUNT_SECONDS)
        await asyncio.sleep(0)


# The audit log


def _requests(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of the operator's account about objects. What everybody may ask, as for /version, is no matter of roles."""
    for event in events:
        if event["user"].get("username") == USER and "objectRef" in event:
            yield event


def _denied(events: Iterable[dict[str, Any]]) -> list[str]:
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in _requests(events)
        if event["annotations"]["authorization.k8s.io/decision"] != "allow"
    ]


def _used(events: Iterable[dict[str, Any]]) -> set[Used]:
    found = set()
    for event in _requests(events):
        about = event["objectRef"]
        resource = "/".join(filter(None, (about["resource"], about.get("subresource", ""))))
        verbs = [event["verb"]]
        if event["verb"] == "patch" and event["responseStatus"]["code"] == 201:
            verbs.append("create")  # server-side apply of what was not there yet
        for verb in verbs:
            where = (about.get("namespace", ""), about.get("apiGroup", ""), resource, verb, about.get("name", ""))
            found.add(Used(*where))
    return found


def _covers(one: Permission, verb: str, used: Used) -> bool:
    in_its_place = one.scope != "own" or used.namespace == DEFAULT_NAMESPACE
    named = not one.names or used.name in one.names
    return (one.group, one.resource, verb) == (used.group, used.resource, used.verb) and in_its_place and named


def _unused(used: set[Used], *, pickers: bool = False) -> list[tuple[str, str]]:
    """Of the permissions for endpoint pickers, or of all others."""
    return [
        (one.resource, verb)
        for one in PERMISSIONS
        for verb in one.verbs
        if (one.scope == "picker") == pickers
        and not any(_covers(one, verb, each) for each in used)
        and (one.resource, verb) not in NEVER_IN_THE_LOG
    ]


async def _metrics(account: Account) -> None:
    """A scraper that is bound to `outrider-metrics-reader` reads them, and nobody else does."""
    kubectl = account.plane.kubectl
    scraper = ("serviceaccount", "scraper", "--namespace", "default")
    await asyncio.to_thread(kubectl, "create", *scraper)
    bound = ("--clusterrole=outrider-metrics-reader", "--serviceaccount=default:scraper")
    token = (await asyncio.to_thread(kubectl, "create", "token", *scraper[1:])).stdout.strip()
    assert await account.metrics_status(token) == 403
    await asyncio.to_thread(kubectl, "create", "clusterrolebinding", "scraper", *bound)
    other = (await asyncio.to_thread(kubectl, "create", "token", *scraper[1:])).stdout.strip()

    async def allowed() -> bool:
        return await account.metrics_status(other) == 200

    await until(allowed, "the scraper may read the metrics")
    assert await account.metrics_status("nobody's") == 401


async def _refused(account: Account, namespace: str) -> None:
    """What the account asks for in vain: it is not needed, and would be bad in the wrong hands."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}}
    nothing: dict[str, Any] = {"metadata": {"labels": {"x": "y"}}}
    async with HttpApi(await account.config()) as api:
        attempts = {
            "read a Secret": lambda: api.get(SECRET, "x", namespace),
            "list Secrets": lambda: api.list(SECRET, DEFAULT_NAMESPACE),
            "write a ConfigMap": lambda: api.create(CONFIG_MAP, body),
            "change a spec": lambda: api.patch(LLM_DEPLOYMENT, "many", nothing, namespace),
            "change a pod": lambda: api.patch(POD, "x", nothing, namespace),
            "end a pod": lambda: api.delete(POD, "x", namespace),
            "delete a PodDisruptionBudget": lambda: api.delete(POD_DISRUPTION_BUDGET, "many", namespace),
            "change a node": lambda: api.patch(NODE, namespace, nothing),
            "take somebody else's lease": lambda: api.get(LEASE, "other", DEFAULT_NAMESPACE),
        }
        allowed = [what for what, attempt in attempts.items() if not await _is_forbidden(attempt)]
        assert allowed == []


async def _is_forbidden(attempt: Callable[[], Awaitable[Any]]) -> bool:
    try:
        await attempt()
    except Forbidden:
        return True
    except ApiError:
        return False
    return False


def test_the_account_is_denied_nothing_that_it_asks_for_and_may_nothing_that_it_does_not_use(plane, tmp_path) -> None:
    async def scenario() -> None:
        account = Account(plane, tmp_path)
        async with _node(plane, tmp_path / "pods", "whole-cluster", gpus=8) as world:
            await outrider(plane, "install", "--no-wait", "--gateway", "infra/public", "--force-conflicts")
            before = len(plane.audit())
            async with account.operator():
                await _release_and_roll_back(world)
                await _lose_a_gpu(world)
                await _many_revisions(world)
                await _metrics(account)
            await _after_a_crash(world, account)
            log = plane.audit()[before:]
            assert _denied(log) == []
            assert _unused(_used(log)) == []
            await _refused(account, world.namespace)
            # While somebody is there to end the pods of its Deployment.
            await outrider(plane, "uninstall", "--yes")

    asyncio.run(scenario())


async def _picker(world: KubeletWorld) -> None:
    """A service asks for an endpoint picker, and thinks better of it."""
    scheduler = "llm-d-inference-scheduler"
    body = _manifest(world.namespace, "picked", "v1.0.0", replicas=0)
    body["spec"]["scheduling"] = {"scheduler": scheduler}
    await world.admin.apply(LLM_DEPLOYMENT.into(dict), body, owner="somebody")
    names: dict[Kind[Any], str] = {
        INFERENCE_POOL: "picked",
        DEPLOYMENT: "picked-epp",
        SERVICE: "picked-epp",
        ROLE_BINDING: "picked-epp",
    }
    for kind, name in names.items():
        await until(partial(_is_there, world, kind, name), f"{kind.kind} {name} is there")
    await _apply(world, "picked", "v1.0.0", replicas=0)
    for kind, name in names.items():
        await until(partial(_is_gone, world, kind, name), f"{kind.kind} {name} is gone")


async def _is_there(world: KubeletWorld, kind: Kind[Any], name: str) -> bool:
    try:
        await world.admin.get(kind.into(dict), name, world.namespace)
    except NotFound:
        return False
    return True


async def _is_gone(world: KubeletWorld, kind: Kind[Any], name: str) -> bool:
    return not await _is_there(world, kind, name)


def test_for_endpoint_pickers_it_may_what_they_need_and_no_more(plane, tmp_path) -> None:
    async def scenario() -> None:
        account = Account(plane, tmp_path)
        async with _node(plane, tmp_path / "pods", "pickers", gpus=0) as world:
            options = ("--gateway", "infra/public", "--inference-pool", "--force-conflicts")
            await outrider(plane, "install", "--no-wait", *options)
            before = len(plane.audit())
            async with account.operator():
                await _picker(world)
            log = plane.audit()[before:]
            assert _denied(log) == []
            assert _unused(_used(log), pickers=True) == []
            await outrider(plane, "uninstall", "--yes")

    asyncio.run(scenario())


def test_with_roles_in_some_namespaces_alone_it_serves_them_and_asks_for_nothing_else(plane, tmp_path) -> None:
    async def scenario() -> None:
        account = Account(plane, tmp_path)
        async with _node(plane, tmp_path / "pods", "one-team", gpus=2) as world:
            names = f"{world.namespace},default"
            await outrider(plane, "install", "--no-wait", "--watch-namespaces", names, "--no-cluster-roles")
            roles = await asyncio.to_thread(plane.kubectl, "get", "clusterroles,clusterrolebindings", "-o", "name")
            assert f"{DEFAULT_NAMESPACE}:" not in roles.stdout, "what an installation no longer needs goes"
            before = len(plane.audit())
            async with account.operator():
                await _apply(world, "llama", "v1.0.0")
                await _serves(world, "llama", "v1.0.0")
            log = plane.audit()[before:]
            assert _denied(log) == []
            assert {one.namespace for one in _used(log)} == {world.namespace, "default", DEFAULT_NAMESPACE}
            with_nodes = [one for one in _used(log) if one.resource == "nodes"]
            assert with_nodes == []
            await _uninstalled_and_still_serving(world)

    asyncio.run(scenario())


async def _uninstalled_and_still_serving(world: KubeletWorld) -> None:
    before = await _pods(world)
    assert len(before) == 1
    await outrider(world.plane, "uninstall", "--yes")
    assert await _pods(world) == before
    for uid, address in before.items():
        url = f"http://{address}:8080/v1/models"
        async with aiohttp.ClientSession() as session, session.get(url) as got:
            assert got.status == 200, uid
    found: LLMDeployment = await world.admin.get(LLM_DEPLOYMENT, "llama", world.namespace)
    assert found.metadata.deletion_timestamp is None
    # And an installation takes its service up again, without a new pod.
    account = Account(world.plane, world.folder)
    await outrider(world.plane, "install", "--no-wait", "--watch-namespaces", world.namespace)
    async with account.operator():
        await _apply(world, "llama", "v1.1.0")
        await _serves(world, "llama", "v1.1.0")


async def _pods(world: KubeletWorld) -> dict[str, str]:
    """The ready pods of `llama`: uid to address."""
    listed = await world.admin.list(POD, world.namespace, labels=f"{GROUP}/deployment=llama")
    return {one.metadata.uid: one.status.pod_ip for one in listed.items if one.ready}
