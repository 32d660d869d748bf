"""The SRE guide's kubectl lines that only look, as printed there, with real kubectl of every version."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubectls import ENDS, MINORS, Shell, find_kubectl, versions
from story_world import GUIDE, LocalWorld, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes]

NAME = "llama-3.1-8b"
PODS = "pods -n production -l app.kubernetes.io/name=llm-deployment"
NODES = (
    'kubectl get nodes -l node-type=gpu -o custom-columns="NAME:.metadata.name,'
    "STATUS:.status.conditions[?(@.type=='Ready')].status,GPU:.status.allocatable.nvidia\\.com/gpu\""
)
COLUMNS = "NAME VERSION PHASE READY AGE MODEL STAGE STABLE-VERSION GPUS P95 ERR% $/H URL"


@pytest.fixture(scope="module")
def served(shared_kubernetes: Callable[[], LocalWorld]) -> Iterator[LocalWorld]:
    """A world in which the guide's service serves."""
    world = shared_kubernetes()
    world.outrider("apply", "--filename", str(GUIDE / "versioning.yaml"), "--wait")
    what = "the metrics of both nodes to be collected"
    wait_for(lambda: world.kubectl("top", "nodes", code=None).out.count("node-") == 2, what)
    yield world
    world.empty()


@pytest.fixture
def shell(served: LocalWorld, minor: int, tmp_path: Path) -> Shell:
    return Shell(served, find_kubectl(minor, served), tmp_path)


def pod(shell: Shell) -> str:
    return shell.run(f"kubectl get {PODS} -o jsonpath='{{.items[0].metadata.name}}'")


@versions(MINORS)
def test_logs_use_and_gpus_of_pods_that_are_processes(shell: Shell) -> None:
    logs = shell.run("kubectl logs -n production -l app.kubernetes.io/name=llm-deployment --since=1h --tail=-1")
    assert "Starting to load model meta-llama/Llama-3.1-8B-Instruct" in logs
    assert '"POST /v1/completions HTTP/1.1" 200' in logs
    assert shell.run(f"kubectl logs -n production {pod(shell)} --tail=1").count("\n") == 1
    used = shell.lines("kubectl top nodes -l node-type=gpu")
    assert used[0][0] == "NAME"
    assert [row[0] for row in used[1:]] == ["node-1", "node-2"]
    assert all(re.fullmatch(r"\d+m", row[1]) and re.fullmatch(r"\d+Mi", row[3]) for row in used[1:]), used
    asked = "nvidia-smi --query-gpu=temperature.gpu,power.draw,memory.used --format=csv,noheader,nounits"
    (gpu,) = shell.run(f"kubectl exec -n production {pod(shell)} -- {asked}").splitlines()
    temperature, power, memory = (float(value) for value in gpu.split(", "))
    assert 20 < temperature < 90
    assert 0 < power < 700
    assert memory > 1000, "the model's weights, in MiB"
    assert "NVIDIA-SMI" in shell.run(f"kubectl exec -n production {pod(shell)} -- nvidia-smi")
    failed = shell.run(f"kubectl exec -n production {pod(shell)} -- sh -c 'exit 3'", code=3)
    assert "command terminated with exit code 3" in failed


@versions(ENDS)
def test_the_morning_health_check_as_it_is_printed(shell: Shell) -> None:
    said = shell.run(f"bash {GUIDE / 'morning-health-check.sh'}")
    assert "error" not in said.lower().replace("error rates", "")
    lines = said.splitlines()
    assert lines[2].split()[:2] == ["NAME", "VERSION"]
    assert lines[3].split()[:3] == [NAME, "v1.2.0", "Ready"]
    assert lines[lines.index("📊 Error rates (last 1h):") + 1] == "0"
    assert lines[lines.index("💾 Resource utilization:") + 2].startswith("node-1 ")


@versions(MINORS)
def test_what_looks_shows_what_is_there(shell: Shell) -> None:
    header, row = shell.lines("kubectl get llmdeployments -n production -o wide")
    assert " ".join(header) == COLUMNS
    seen = dict(zip(header, row, strict=True))
    url = seen["URL"]
    assert {key: seen[key] for key in ("NAME", "VERSION", "PHASE", "READY", "STABLE-VERSION", "GPUS")} == {
        "NAME": NAME, "VERSION": "v1.2.0", "PHASE": "Ready", "READY": "1/1", "STABLE-VERSION": "v1.2.0", "GPUS": "1",
    }  # fmt: skip
    assert url == f"{shell.world.info.gateway_url}/production/llama-3-1-8b"
    assert shell.lines(NODES) == [["NAME", "STATUS", "GPU"], ["node-1", "True", "8"], ["node-2", "True", "8"]]
    node = shell.run(f"kubectl get {PODS} -o jsonpath='{{.items[0].spec.nodeName}}'")
    described = shell.lines(f'kubectl describe node {node} | grep -A 10 "nvidia.com/gpu"')
    assert ["nvidia.com/gpu:", "8"] in described
    assert ["nvidia.com/gpu", "1", "1"] in described, "what is asked for and what may be used at most"
    explained = shell.run("kubectl explain llmdeployment.spec.rollback")
    assert "How to go back to a version that worked" in explained
    for known in ("autoRollback", "previousVersions"):
        assert known in explained
    assert "<no description>" not in explained
    history = shell.lines(f"kubectl rollout history deployment/{NAME} -n production")
    assert history[:2] == [[f"deployment.apps/{NAME}"], ["REVISION", "CHANGE-CAUSE"]]
    number, version, revision = history[2]
    assert (number, version, revision.startswith(f"({NAME}-")) == ("1", "v1.2.0", True)
    may = "kubectl auth can-i patch llmdeployments -n production"
    assert shell.run(may) == "yes\n"
    assert shell.run(f"{may} --as=system:serviceaccount:production:default", code=1) == "no\n"
