"""The SRE guide's blue-green script end to end, as printed but for the name of a Service and five minutes of sleep."""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_traffic import raw_traffic
from kubectls import NEWEST, Shell, find_kubectl
from story_world import GUIDE, ROOT, LocalWorld, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.only("kubernetes", reason="kubectl needs a real API server"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

EXAMPLES = ROOT / "examples" / "blue-green"
MODEL = "Llama-3.1-8B-Instruct"
AS_PRINTED = "kubectl patch service ${MODEL_NAME} "
AS_ALLOWED = "kubectl patch service ${MODEL_NAME//./-} "
"""A Service's name holds no dot: the one word that docs/guide/sre-guide.md says to change."""


@pytest.fixture
def shell(base: str, running: LocalWorld, tmp_path: Path) -> Shell:
    """A shell in which the script is, a blue deployment serves, and `sleep` only writes down how long it would."""
    shell = Shell(running, find_kubectl(NEWEST, running), tmp_path)
    shell.put("sleep", '#!/bin/sh\necho "$1" >> slept\n')
    printed = (GUIDE / "blue-green.sh").read_text()
    assert printed.count(AS_PRINTED) == 1
    (tmp_path / "blue-green.sh").write_text(printed.replace(AS_PRINTED, AS_ALLOWED))
    shutil.copy(EXAMPLES / "health-check.sh", tmp_path)
    shell.run(f"kubectl apply -f {EXAMPLES / 'service.yaml'} -f {EXAMPLES / 'blue.yaml'}")
    shell.run("kubectl wait --for=condition=Ready llmdeployment/llama-3.1-8b-blue -n production --timeout=600s")
    return shell


@pytest.fixture(autouse=True)
def _service_gone(running: LocalWorld) -> Iterator[None]:
    """The Service is the user's own: nothing else removes it."""
    yield
    running.kubectl("delete", "service", "llama-3-1-8b", "--namespace", "production", "--ignore-not-found")


def _selected(shell: Shell) -> str:
    return shell.run("kubectl get service llama-3-1-8b -n production -o jsonpath='{.spec.selector.deployment}'")


def _names(shell: Shell) -> list[str]:
    return shell.run("kubectl get llmdeployments -n production -o name").split()


def _revision_that_answers(url: str) -> str:
    body = json.dumps({"model": MODEL, "prompt": "test", "max_tokens": 1}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.headers["x-outrider-revision"])


def _revision_of(shell: Shell, name: str) -> str:
    return shell.run(f"kubectl get llmdeployment {name} -n production -o jsonpath='{{.status.effectiveRevision}}'")


def test_the_guides_script_switches_from_blue_to_green_and_no_request_fails(shell: Shell) -> None:
    url = f"{shell.world.info.gateway_url}/production/llama-3-1-8b"
    assert _revision_that_answers(url) == _revision_of(shell, "llama-3.1-8b-blue")
    with raw_traffic(url, MODEL) as tally:
        wait_for(lambda: tally.requests > 20, "traffic on blue")
        said = shell.run("bash blue-green.sh")
        after = tally.requests
        wait_for(lambda: tally.requests > after + 20, "traffic on green")
    assert tally.failures == {}
    assert tally.broken_streams == 0
    for line in (
        "🚀 Starting blue-green deployment: v1.2.0 → v1.3.0",
        "llmdeployment.inference.llm-d.io/llama-3.1-8b-green condition met",
        f"llama-3.1-8b-green answers at {url}-green",
        "service/llama-3-1-8b patched",
        "✅ Traffic switched to green deployment",
    ):
        assert line in said.splitlines(), said
    assert (shell.folder / "slept").read_text() == "300\n"
    assert _selected(shell) == "green"
    assert _names(shell) == ["llmdeployment.inference.llm-d.io/llama-3.1-8b-green"]
    assert _revision_that_answers(url) == _revision_of(shell, "llama-3.1-8b-green")


def test_a_health_check_that_fails_takes_green_away_and_leaves_blue_alone(shell: Shell) -> None:
    (shell.folder / "health-check.sh").write_text("echo wrong answers; exit 1\n")
    said = shell.run("bash blue-green.sh", code=1)
    assert "❌ Health checks failed. Rolling back..." in said.splitlines(), said
    assert _names(shell) == ["llmdeployment.inference.llm-d.io/llama-3.1-8b-blue"]
    assert _selected(shell) == "blue"
    url = f"{shell.world.info.gateway_url}/production/llama-3-1-8b"
    assert _revision_that_answers(url) == _revision_of(shell, "llama-3.1-8b-blue")


def test_kubernetes_itself_refuses_the_name_that_the_guide_prints(shell: Shell) -> None:
    said = shell.run("kubectl create service clusterip llama-3.1-8b -n production --tcp=8080", code=1)
    assert "must not contain dots" in said
