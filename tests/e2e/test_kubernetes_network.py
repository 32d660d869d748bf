"""Services and names within the network of the world that runs on a real control plane."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from story_world import GUIDE, ROOT, LocalWorld, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.only("kubernetes", reason="the world on the store has no network of its own"),
]

HEALTH_CHECK = (GUIDE / "model-health-check.yaml").read_text()
WITHOUT_BODY = HEALTH_CHECK.replace("curl -s -w", "curl -s -o /dev/null -w")
"""As the guide means it: the text that it compares with 200 holds the whole answer as well."""


@pytest.fixture
def kubernetes(fresh: LocalWorld) -> LocalWorld:
    return fresh


def inside(world: LocalWorld, *command: str) -> str:
    """What a command prints that runs in the world's network and sees the world's files."""
    anchor = (world.folder.control_plane / "anchor.pid").read_text()
    enter = ["nsenter", "--target", anchor, "--net", "--mount", f"--wd={Path.cwd()}"]
    if os.geteuid() != 0:
        enter += ["--user", "--preserve-credentials"]
    return subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=60).stdout


def status_of(world: LocalWorld, url: str) -> str:
    return inside(world, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url)


def health_check(world: LocalWorld, manifest: str, job: str, condition: str) -> None:
    """Run the CronJob's job once, and wait until it has ended so."""
    world.outrider("kubectl", "apply", "--filename", "-", stdin=manifest)
    production = ("--namespace", "production")
    world.outrider("kubectl", "create", "job", job, "--from=cronjob/model-health-check", *production)
    world.outrider("kubectl", "wait", f"job/{job}", f"--for=condition={condition}", "--timeout=100s", *production)


def test_names_and_cluster_addresses_serve_pods_and_outlive_a_crash(kubernetes: LocalWorld) -> None:
    kubernetes.outrider("apply", "--filename", str(ROOT / "examples" / "llama-3.1-8b.yaml"), "--wait")
    health_check(kubernetes, WITHOUT_BODY, "by-name", "Complete")
    service = kubernetes.json("get", "service", "llama-3-1-8b", "--namespace", "production")
    for host in ("llama-3-1-8b.production", "llama-3.1-8b.production.svc.cluster.local", service["spec"]["clusterIP"]):
        assert status_of(kubernetes, f"http://{host}:8080/v1/models") == "200", host
    assert '"gitVersion"' in inside(kubernetes, "curl", "-sk", "https://kubernetes.default/version")
    columns = kubernetes.outrider("kubectl", "get", "gateway", "--all-namespaces", "--no-headers").out.split()
    assert columns[:5] == ["outrider-system", "outrider", "outrider-local", "192.168.77.250", "True"]
    inside_gateway = "http://192.168.77.250:8080/production/llama-3-1-8b/v1/models"
    assert status_of(kubernetes, inside_gateway) == "200", "the address and the port that the Gateway says"
    said = kubernetes.json("get", "httproute", "llama-3-1-8b", "--namespace", "production")["status"]["parents"]
    assert {each["type"]: each["status"] for parent in said for each in parent["conditions"]} == {
        "Accepted": "True",
        "ResolvedRefs": "True",
    }
    assert "10.96.0.10" not in Path("/etc/resolv.conf").read_text(), "the host keeps its own"
    pid = kubernetes.info.pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the killed process is gone")
    kubernetes.up()
    health_check(kubernetes, WITHOUT_BODY, "after-the-crash", "Complete")


def test_the_guides_health_check_as_printed_runs_and_fails_by_its_own_comparison(kubernetes: LocalWorld) -> None:
    kubernetes.outrider("apply", "--filename", str(ROOT / "examples" / "llama-3.1-8b.yaml"), "--wait")
    once = HEALTH_CHECK.replace("restartPolicy: OnFailure", "restartPolicy: Never").replace(
        "  jobTemplate:\n    spec:\n", "  jobTemplate:\n    spec:\n      backoffLimit: 0\n"
    )
    health_check(kubernetes, once, "as-printed", "Failed")
    said = kubernetes.outrider("kubectl", "logs", "job/as-printed", "--namespace", "production").out
    answer = said.removeprefix("Model health check failed: ").rstrip()
    assert answer.endswith("}200"), "the whole answer, and the code after it"
    assert json.loads(answer.removesuffix("200"))["object"] == "text_completion"
