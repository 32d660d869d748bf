"""`outrider operator` with a pod's own identity: service account, probes, metrics that RBAC guards, two signals."""

import asyncio
import base64
import signal
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from control_plane import RunningPlane
from operator_processes import OperatorUnderTest, operators
from story_world import wait_for

from outrider.cli.errors import Exit
from outrider.kube.api import Forbidden
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import in_cluster_config
from outrider.kube.objects import NODE

METRICS = (
    "controller_runtime_max_concurrent_reconciles",
    "rest_client_requests_total",
    "workqueue_adds_total",
    "process_resident_memory_bytes",
    "outrider_informer_objects",
)


def service_account(plane: RunningPlane, namespace: str, name: str, folder: Path) -> str:
    """Make an account, put into the folder what the kubelet mounts into its pods, and give its token."""
    plane.kubectl("create", "serviceaccount", name, "-n", namespace)
    token = plane.kubectl("create", "token", name, "-n", namespace).stdout.strip()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(token)
    (folder / "namespace").write_text(namespace)
    authority = plane.config.certificate_authority_data
    (folder / "ca.crt").write_bytes(base64.b64decode(authority))
    return token


def test_a_pods_service_account_is_who_it_is(control_plane: RunningPlane, tmp_path: Path) -> None:
    control_plane.kubectl("create", "namespace", "in-pod")
    service_account(control_plane, "in-pod", "reader", tmp_path)
    url = urlsplit(control_plane.config.server)
    environ = {"KUBERNETES_SERVICE_HOST": str(url.hostname), "KUBERNETES_SERVICE_PORT": str(url.port)}
    config = in_cluster_config(environ, tmp_path)
    assert config is not None
    assert config.namespace == "in-pod"

    async def run() -> None:
        async with HttpApi(config) as api:
            with pytest.raises(Forbidden, match="system:serviceaccount:in-pod:reader"):
                await api.list(NODE)

    asyncio.run(run())


def ask(url: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    context = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def address(one: OperatorUnderTest, what: str) -> str:
    wait_for(lambda: any(line.get("what") == what for line in one.said()), f"{one.name} serves {what}")
    (line,) = [line for line in one.said() if line.get("what") == what]
    return f"{line['scheme']}://{line['address']}"


def test_metrics_are_for_whom_rbac_lets_get_them_and_probes_for_everybody(
    control_plane: RunningPlane, tmp_path: Path
) -> None:
    namespace = "metrics"
    with operators(control_plane, namespace, tmp_path) as team:
        leader = team.start("leader", metrics="127.0.0.1:0")
        health, metrics = address(leader, "probes"), address(leader, "metrics")
        wait_for(lambda: ask(f"{health}/readyz")[0] == 200, "the leader is ready")
        wait_for(lambda: leader.has_said("this process leads"), "it leads")
        standby = team.start("standby", metrics="127.0.0.1:0")
        wait_for(lambda: standby.has_said("another process leads"), "the other stands by")
        assert ask(f"{address(standby, 'probes')}/readyz") == (200, "ok\n"), "who stands by is ready, too"
        assert ask(f"{health}/healthz") == (200, "ok\n")

        assert metrics.startswith("https://")
        assert ask(f"{metrics}/metrics")[0] == 401
        assert ask(f"{metrics}/metrics", "nonsense")[0] == 401
        nobody = service_account(control_plane, namespace, "nobody", tmp_path / "nobody")
        assert ask(f"{metrics}/metrics", nobody)[0] == 403
        scraper = service_account(control_plane, namespace, "scraper", tmp_path / "scraper")
        role, account = "metrics-test-reader", f"--serviceaccount={namespace}:scraper"
        control_plane.kubectl("create", "clusterrole", role, "--verb=get", "--non-resource-url=/metrics")
        control_plane.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", account)
        status, page = ask(f"{metrics}/metrics", scraper)
        assert status == 200
        assert 'leader_election_master_status{name="outrider-operator"} 1.0' in page
        for name in METRICS:
            assert f"\n{name}" in page, name
        status, page = ask(f"{address(standby, 'metrics')}/metrics", scraper)
        assert 'leader_election_master_status{name="outrider-operator"} 0.0' in page

        leader.send(signal.SIGTERM)
        leader.send(signal.SIGTERM)
        assert leader.process.wait(30) in (Exit.OK, Exit.INTERRUPTED)
