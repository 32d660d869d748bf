"""`outrider install`, `upgrade` and `uninstall` against a real API server."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from control_plane import RunningPlane
from helm_program import helm_or_skip

from outrider.api.meta import format_time
from outrider.cli.errors import Exit
from outrider.cli.main import run
from outrider.kube.clock import SystemClock
from outrider.kube.http import HttpApi
from outrider.kube.objects import NODE, POD
from outrider.plan.install.manifests import crds, manifests
from outrider.plan.install.settings import Installation

pytestmark = pytest.mark.xdist_group("cluster-scoped")

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "outrider"
SERVICE = """
apiVersion: inference.llm-d.io/v1alpha1
kind: LLMDeployment
metadata: {name: llama, namespace: default}
spec: {replicas: 0, model: {modelUri: "hf://meta-llama/Llama-3.1-8B-Instruct", version: v1.2.0}}
"""
Outcome = tuple[int, str, str]


@pytest.fixture
def outrider(cluster_scoped: RunningPlane, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command against the cluster; returns its exit code and what it printed on both streams."""

    def outrider(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run([*arguments, "--kubeconfig", str(cluster_scoped.kubeconfig)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return outrider


@pytest.fixture(autouse=True)
def clean(cluster_scoped: RunningPlane, outrider: Callable[..., Outcome]) -> Iterator[None]:
    """Nothing is installed before a test, and nothing is left after it."""

    def remove() -> None:
        cluster_scoped.kubectl("delete", "llmdeployments", "--all", "-A", "--ignore-not-found", check=False)
        for namespace in ("team", "outrider-system"):
            # Pods whose node is gone wait for somebody to end them, and `uninstall` waits with them.
            cluster_scoped.kubectl("delete", "pods", "--all", "--force", "--namespace", namespace, check=False)
            outrider("uninstall", "--yes", "--remove-crds", "--namespace", namespace)

    remove()
    yield
    remove()


def test_a_dry_run_shows_every_object_and_makes_none(outrider, cluster_scoped) -> None:
    # Other tests may have left it: `uninstall` takes no namespace in which something is, like events about pods.
    cluster_scoped.kubectl("delete", "namespace", "outrider-system", "--ignore-not-found")
    code, out, _ = outrider("install", "--dry-run")
    assert code == Exit.OK
    labels = [line.split()[0] for line in out.splitlines()]
    wanted = [
        f"{one['kind'].lower()}/{one['metadata']['name']}" for one in manifests(Installation(), "outrider-system")
    ]
    assert labels == wanted
    assert all(line.endswith("created (dry run)") for line in out.splitlines())
    assert cluster_scoped.kubectl("get", "crd", "-l", "app.kubernetes.io/part-of=outrider").stdout == ""


def test_an_installation_is_changed_by_what_is_said_and_keeps_the_rest(outrider, cluster_scoped) -> None:
    assert outrider("install", "--no-wait", "--replicas", "1", "--gateway", "infra/public")[0] == Exit.OK
    again = outrider("install", "--no-wait", "--replicas", "1", "--gateway", "infra/public")
    assert (again[0], again[1]) == (Exit.OK, "20 objects unchanged\n")
    code, out, _ = outrider("upgrade", "--no-wait", "--replicas", "3")
    assert code == Exit.OK
    assert out == (
        "configmap/outrider-installation in outrider-system changed\n"
        "    data.replicas: 1 -> 3\n"
        "deployment/outrider-operator in outrider-system changed\n"
        "    spec.replicas: 1 -> 3\n"
        "18 objects unchanged\n"
    )
    code, out, _ = outrider("upgrade", "--no-wait", "--watch-namespaces", "default")
    assert "deployment/outrider-operator in outrider-system changed\n" in out
    assert "args: added: --watch-namespaces=default\n" in out
    assert "role/outrider-operator-watched in default created\n" in out
    assert "clusterrole/outrider-system:operator removed\n" in out
    container = _container(cluster_scoped)
    assert {"--gateway=infra/public", "--watch-namespaces=default"} <= set(container["args"])


def _container(plane: RunningPlane) -> dict[str, Any]:
    shown = plane.kubectl("get", "deployment", "outrider-operator", "-n", "outrider-system", "-o", "json")
    (container,) = msgspec.json.decode(shown.stdout)["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def test_what_is_printed_can_be_applied_and_is_then_what_install_applies(outrider, cluster_scoped) -> None:
    code, out, _ = outrider("install", "--output", "yaml")
    assert code == Exit.OK
    assert [one["kind"] for one in yaml.safe_load_all(out)][:2] == ["Namespace", "CustomResourceDefinition"]
    cluster_scoped.kubectl("apply", "--server-side", "-f", "-", stdin=out)
    assert outrider("install", "--no-wait")[:2] == (Exit.OK, "20 objects unchanged\n")


def test_models_stay_when_the_operator_goes_and_hold_the_crds(outrider, cluster_scoped) -> None:
    outrider("install", "--no-wait")
    cluster_scoped.kubectl("apply", "-f", "-", stdin=SERVICE)
    code, out, _ = outrider("uninstall", "--dry-run")
    assert (code, "deployment/outrider-operator in outrider-system removed (dry run)" in out) == (Exit.OK, True)
    assert "1 LLMDeployments stay, and serve as they do now:\n    default/llama\n" in out
    code, out, told = outrider("uninstall")
    assert (code, "say --yes" in told) == (Exit.USAGE, True), "nobody is there to ask"
    code, _, told = outrider("uninstall", "--yes", "--remove-crds")
    assert code == Exit.CONFLICT
    assert "there is 1 LLMDeployment in the cluster" in told
    assert "default/llama" in told
    assert outrider("uninstall", "--yes")[0] == Exit.OK
    left = cluster_scoped.kubectl(
        "get", "all,sa,role,rolebinding,networkpolicy,pdb,cm", "-n", "outrider-system", "-o", "name"
    )
    assert set(left.stdout.split()) <= {"serviceaccount/default", "configmap/kube-root-ca.crt"}
    roles = cluster_scoped.kubectl("get", "clusterrole,clusterrolebinding", "-o", "name").stdout
    assert "outrider-system:" not in roles
    assert cluster_scoped.kubectl("get", "llmd", "llama", "-o", "jsonpath={.spec.model.version}").stdout == "v1.2.0"
    code, _, told = outrider("uninstall", "--yes")
    assert (code, "is not installed in namespace outrider-system" in told) == (Exit.NOT_FOUND, True)
    cluster_scoped.kubectl("delete", "llmd", "llama")
    assert outrider("uninstall", "--yes", "--remove-crds")[0] == Exit.OK
    assert cluster_scoped.kubectl("get", "crd", "-l", "app.kubernetes.io/part-of=outrider").stdout == ""


def test_crds_that_would_lose_fields_are_refused_and_nothing_is_changed(outrider, cluster_scoped) -> None:
    newer = crds()
    for definition in newer:
        if definition["spec"]["names"]["kind"] == "LLMDeployment":
            (version,) = definition["spec"]["versions"]
            version["schema"] = msgspec.json.decode(msgspec.json.encode(version["schema"]))
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            spec["colour"] = {"type": "string"}
            spec["model"]["properties"]["shape"] = {"type": "string"}
    listed = {"apiVersion": "v1", "kind": "List", "items": newer}
    cluster_scoped.kubectl("apply", "--server-side", "-f", "-", stdin=msgspec.json.encode(listed).decode())
    code, out, told = outrider("install", "--no-wait", "--force-conflicts")
    assert (code, out) == (Exit.CONFLICT, "")
    assert told.splitlines() == [
        "error: the installed CRDs are newer: with those of this version, this would be lost",
        "  LLMDeployment: v1alpha1 field spec.colour",
        "  LLMDeployment: v1alpha1 field spec.model.shape",
        "  to go back all the same:  --accept-lost-fields",
    ]
    assert cluster_scoped.kubectl("get", "deployment", "-n", "outrider-system", "-o", "name").stdout == ""
    code, out, _ = outrider("install", "--no-wait", "--force-conflicts", "--accept-lost-fields")
    assert code == Exit.OK
    assert "spec.colour: removed" in out


def test_a_field_that_somebody_else_set_is_not_taken_over_unasked(outrider, cluster_scoped) -> None:
    outrider("install", "--no-wait")
    cluster_scoped.kubectl("scale", "deployment", "outrider-operator", "-n", "outrider-system", "--replicas=5")
    code, out, told = outrider("upgrade", "--no-wait", "--replicas", "3")
    assert (code, out) == (Exit.CONFLICT, "")
    assert "Deployment outrider-operator: " in told
    assert ".spec.replicas" in told
    assert "--force-conflicts" in told
    code, out, _ = outrider("upgrade", "--no-wait", "--replicas", "3", "--force-conflicts")
    assert (code, "spec.replicas: 5 -> 3" in out) == (Exit.OK, True)


def test_two_operators_do_not_look_after_the_same_services(outrider) -> None:
    outrider("install", "--no-wait", "--watch-namespaces", "default,kube-public")
    code, _, told = outrider(
        "install", "--no-wait", "--namespace", "team", "--no-crds", "--watch-namespaces", "kube-public"
    )
    assert code == Exit.CONFLICT
    assert "the operator in namespace outrider-system looks after the namespaces kube-public" in told
    code, _, told = outrider("upgrade", "--no-wait", "--namespace", "team")
    assert (code, "it is in namespace outrider-system" in told) == (Exit.NOT_FOUND, True)
    code, _, _ = outrider(
        "install", "--dry-run", "--namespace", "team", "--no-crds", "--watch-namespaces", "kube-system"
    )
    assert code == Exit.OK


def test_what_helm_installed_is_left_to_helm(outrider, cluster_scoped) -> None:
    outrider("install", "--no-wait")
    annotated = ("annotate", "deployment", "outrider-operator", "-n", "outrider-system")
    cluster_scoped.kubectl(*annotated, "meta.helm.sh/release-name=outrider")
    for command in (["upgrade"], ["uninstall", "--yes"]):
        code, _, told = outrider(*command)
        assert (code, f"helm {command[0]} outrider --namespace outrider-system" in told) == (Exit.CONFLICT, True)
    cluster_scoped.kubectl(*annotated, "meta.helm.sh/release-name-")


def test_another_version_is_an_upgrade_and_its_image_is_of_the_same_repository(outrider, cluster_scoped) -> None:
    _make_older(outrider, cluster_scoped, "registry.example/outrider:0.0.9")
    code, _, told = outrider("install", "--no-wait")
    assert (code, "Outrider 0.0.9 is installed" in told) == (Exit.CONFLICT, True)
    code, out, _ = outrider("upgrade", "--no-wait", "--force-conflicts")
    assert code == Exit.OK
    assert out.startswith("Outrider 0.0.9 -> ")
    assert _container(cluster_scoped)["image"] == "registry.example/outrider:0.1.0"
    _make_older(outrider, cluster_scoped, "registry.example/outrider@sha256:00")
    code, _, told = outrider("upgrade", "--no-wait", "--force-conflicts")
    assert (code, "name that of version 0.1.0" in told) == (Exit.USAGE, True)


def _make_older(outrider: Callable[..., Outcome], plane: RunningPlane, image: str) -> None:
    outrider("install", "--no-wait", "--image", image, "--force-conflicts")
    where = ("deployment", "outrider-operator", "-n", "outrider-system")
    plane.kubectl("label", *where, "app.kubernetes.io/version=0.0.9", "--overwrite")


def test_helm_installs_upgrades_and_leaves_models_when_it_uninstalls(cluster_scoped) -> None:
    helm = partial(_helm, cluster_scoped)
    helm("install", "outrider", str(CHART), "--create-namespace")
    assert _container(cluster_scoped)["image"] == Installation().image
    cluster_scoped.kubectl("apply", "-f", "-", stdin=SERVICE)
    helm("upgrade", "outrider", str(CHART), "--set", "watchNamespaces={default}", "--set", "gateway=infra/public")
    assert {"--watch-namespaces=default", "--gateway=infra/public"} <= set(_container(cluster_scoped)["args"])
    roles = cluster_scoped.kubectl("get", "clusterroles", "-o", "name").stdout
    assert "outrider-system:operator" not in roles, "what an installation no longer needs goes"
    helm("uninstall", "outrider")
    assert cluster_scoped.kubectl("get", "deployment", "-n", "outrider-system", "-o", "name").stdout == ""
    assert cluster_scoped.kubectl("get", "llmd", "llama", "-o", "name").stdout.strip().endswith("/llama")
    helm("install", "outrider", str(CHART))
    assert _container(cluster_scoped)["image"] == Installation().image, "and takes up what it left"
    helm("uninstall", "outrider")


def _helm(plane: RunningPlane, *arguments: str) -> None:
    command = [helm_or_skip(), *arguments, "--namespace", "outrider-system", "--kubeconfig", str(plane.kubeconfig)]
    home = {"HOME": str(plane.folder), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=home)
    assert done.returncode == 0, done.stderr


def test_waiting_says_what_is_awaited_and_ends_when_the_operator_is_ready(outrider, cluster_scoped) -> None:
    code, _, told = outrider("install", "--timeout", "2s")
    assert code == Exit.TIMED_OUT
    assert "0 ready; outrider-operator-" in told, "a pod is named"
    assert "has no node" in told
    assert "kubectl describe pods --namespace outrider-system" in told

    with _pods_that_become_ready(cluster_scoped):
        code, _, told = outrider("install", "--timeout", "60s")
    assert code == Exit.OK
    assert "the operator is ready: 2 of 2" in told


@contextmanager
def _pods_that_become_ready(plane: RunningPlane) -> Iterator[None]:
    """A node that only exists on paper, and says of every pod on it that it runs and is ready."""
    stop = threading.Event()

    async def pretend() -> None:
        async with HttpApi(plane.config) as api:
            amounts = {"cpu": "8", "memory": "16Gi", "pods": "10"}
            conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}]
            await api.create(NODE.into(dict), {"metadata": {"name": "paper"}})
            status = {"capacity": amounts, "allocatable": amounts, "conditions": conditions}
            await api.patch_status(NODE.into(dict), "paper", status)
            while not stop.is_set():
                for pod in (await api.list(POD, "outrider-system", fields="spec.nodeName=paper")).items:
                    if not pod.ready and pod.metadata.deletion_timestamp is None:
                        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
                        await api.patch_status(POD.into(dict), pod.metadata.name, ready, "outrider-system")
                await asyncio.sleep(0.1)
            await api.delete(NODE, "paper")

    thread = threading.Thread(target=lambda: asyncio.run(pretend()))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _now() -> str:
    return format_time(SystemClock().now())
