"""`outrider up --engine vllm` runs the `vllm` of the PATH as the revision asks, or says clearly that there is none."""

import json
import os
import shlex
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from story_world import ROOT, LocalWorld, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=2)]

NAME = "llama-3.1-8b"
MANIFEST = (ROOT / "examples" / "llama-3.1-8b.yaml").read_text()
FAKE = """\
#!{python}
import json, os, sys
from pathlib import Path

started = {{"argv": sys.argv[1:], "env": dict(os.environ)}}
Path({folder!r}, f"{{os.getpid()}}.json").write_text(json.dumps(started))
os.execv({python!r}, [{python!r}, "-m", "outrider.serving.simulator", *sys.argv[1:]])
"""
"""Writes down how it was started, then serves in vLLM's place."""


@pytest.fixture
def starts(world: LocalWorld, tmp_path: Path) -> Path:
    """The folder in which the `vllm` of the world's PATH leaves a file for each of its starts."""
    folder = tmp_path / "starts"
    programs = tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (programs / "vllm").write_text(FAKE.format(python=sys.executable, folder=str(folder)))
    (programs / "vllm").chmod(0o755)
    world.env["PATH"] = f"{programs}{os.pathsep}{world.env['PATH']}"
    return folder


def _read(folder: Path) -> dict[int, dict[str, Any]]:
    return {int(file.stem): json.loads(file.read_text()) for file in folder.iterdir()}


def _complete(world: LocalWorld, model: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{world.info.gateway_url}/production/{NAME}/v1/completions",
        json.dumps({"model": model, "prompt": "Say OK.", "max_tokens": 4}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def test_the_vllm_of_the_path_serves_with_exactly_the_arguments_of_the_revision(
    world: LocalWorld, starts: Path
) -> None:
    world.env |= {"VLLM_LOGGING_LEVEL": "DEBUG", "HF_HOME": "/srv/hub"}
    world.env |= {"VLLM_API_KEY": "secret", "HF_TOKEN": "secret", "EDITOR": "ed"}
    world.up("--engine", "vllm")
    world.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    pods = {pod["status"]["podIP"]: pod for pod in world.json("get", "pods", "-n", "production")["items"]}
    revision = world.json("get", "modelrevisions", "-n", "production")["items"][0]["spec"]
    runs = _read(starts)
    assert len(runs) == len(pods) == 2
    assert revision["args"][0] == "meta-llama/Llama-3.1-8B-Instruct"
    for run in runs.values():
        address = run["env"]["POD_IP"]
        assert run["argv"] == [
            "serve",
            *revision["args"],
            f"--host={address}",
            "--port=8080",
            "--shutdown-timeout=45",
            "--disable-access-log-for-endpoints=/health,/metrics,/v1/models",
        ]
        assert run["env"]["POD_NAME"] == pods.pop(address)["metadata"]["name"]
        assert run["env"]["VLLM_LOGGING_LEVEL"] == "DEBUG", "settings of the engine are this user's"
        assert run["env"]["HF_HOME"] == "/srv/hub", "models are downloaded once"
        assert not {"VLLM_API_KEY", "HF_TOKEN", "EDITOR"} & set(run["env"]), "nothing else is inherited"
    assert _complete(world, revision["args"][0])["choices"][0]["text"]


def test_a_release_starts_the_engine_with_the_new_arguments_and_down_leaves_none_of_it(
    world: LocalWorld, starts: Path
) -> None:
    world.up("--engine", "vllm")
    world.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    before = set(_read(starts))
    world.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST.replace("v1.2.0", "v1.3.0"))
    new = {pid: run for pid, run in _read(starts).items() if pid not in before}
    assert len(new) == 2
    assert all("--revision=v1.3.0" in run["argv"] for run in new.values()), shlex.join(new.popitem()[1]["argv"])
    wait_for(lambda: not before & {pid for pid, _ in world.processes()}, "the old engines to have ended")
    world.outrider("down")
    assert world.processes() == []


def test_without_a_vllm_on_the_path_everything_says_what_is_missing_and_what_to_do(world: LocalWorld) -> None:
    world.env["PATH"] = os.pathsep.join(
        folder for folder in world.env["PATH"].split(os.pathsep) if not Path(folder, "vllm").exists()
    )
    world.up("--engine", "vllm")
    world.outrider("apply", "--filename", "-", stdin=MANIFEST)
    broken = wait_for(
        lambda: (found := world.condition(NAME, "Ready")).get("reason") == "PodsFailing" and found, "it to be told"
    )
    shown = {
        "condition": broken["message"],
        "status": world.outrider("status", code=None).out,
        "describe": world.outrider("describe", NAME, "--namespace", "production").out,
        "pods": world.outrider("get", "pods", "--namespace", "production", "--output", "yaml").out,
    }
    for where, text in shown.items():
        words = " ".join(text.split())
        assert "there is no program `vllm` on the PATH" in words, where
        assert "pip install vllm" in words, where
        assert "--engine simulator" in words, where
    assert "ImagePull" in world.outrider("get", "pods", "--namespace", "production").out
