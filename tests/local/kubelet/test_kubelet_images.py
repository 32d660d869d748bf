import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from outrider.kube.clock import SystemClock
from outrider.kube.objects import CONFIG_MAP
from outrider.local.kubelet.environment import ConfigError
from outrider.local.kubelet.images import (
    SIMULATOR_MODULE,
    Engine,
    ImageNotAvailable,
    Program,
    make_image_resolver,
    repository,
    serve_arguments,
    simulator_settings,
)
from outrider.local.store import Store, StoreApi

REPOSITORIES = {
    "vllm/vllm-openai": "vllm/vllm-openai",
    "vllm/vllm-openai:v0.32.0": "vllm/vllm-openai",
    "docker.io/vllm/vllm-openai:latest": "vllm/vllm-openai",
    "registry.example.com:5000/mirror/vllm/vllm-openai@sha256:abc": "vllm/vllm-openai",
    "registry.example.com/vllm-openai": "registry.example.com/vllm-openai",
    "busybox:1.36": "busybox",
}


def test_an_image_is_recognised_whatever_its_registry_tag_and_digest() -> None:
    for image, expected in REPOSITORIES.items():
        assert repository(image) == expected, image


SERVE: dict[str, tuple[list[str], list[str], list[str] | None]] = {
    "the operator's command": (["vllm", "serve"], ["org/model", "--port=8080"], ["org/model", "--port=8080"]),
    "all in the command": (["vllm", "serve", "org/model"], ["--port=8080"], ["org/model", "--port=8080"]),
    "only arguments": ([], ["org/model", "--port=8080"], ["org/model", "--port=8080"]),
    "only arguments, the model as an option": ([], ["--port=8080", "--model", "org/m"], ["org/m", "--port=8080"]),
    "the older module": (
        ["python3", "-m", "vllm.entrypoints.openai.api_server"], ["--model=org/m", "--seed=1"], ["org/m", "--seed=1"],
    ),
    "another subcommand": (["vllm", "bench"], [], None),
    "a shell": (["sh", "-c", "vllm serve org/model"], [], None),
}  # fmt: skip


def test_what_follows_vllm_serve() -> None:
    for sentence, (command, args, expected) in SERVE.items():
        assert serve_arguments(command, args) == expected, sentence


def container(image: str, *command: str, args: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"name": "model-server", "image": image, "command": list(command), "args": list(args)}


LABELS = {"llm-d.ai/model": "llama-3.1-8b", "inference.llm-d.io/version": "v1.2.0"}


async def resolve(
    wanted: dict[str, Any], *, engine: Engine = "simulator", settings: dict[str, str] | None = None
) -> Program:
    async with Store.opened(SystemClock()) as store:
        api = StoreApi(store)
        if settings is not None:
            metadata = {"name": "outrider-simulator", "namespace": "default"}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": settings}
            await api.create(CONFIG_MAP, body)
        return await make_image_resolver(api, engine=engine)("default", {"metadata": {"labels": LABELS}}, wanted)


MODEL_SERVER = container("vllm/vllm-openai:v0.32.0", "vllm", "serve", args=("org/model", "--port=8080"))


def test_a_model_server_is_simulated() -> None:
    program = asyncio.run(resolve(MODEL_SERVER))
    assert program.argv == (sys.executable, "-m", SIMULATOR_MODULE, "serve", "org/model", "--port=8080")
    assert "OUTRIDER_SIMULATOR" not in program.env


def test_the_namespace_says_what_is_wrong_with_a_simulated_version() -> None:
    settings = {"v1.2.0": '{"error-rate": 0.5}', "v1.3.0": "wedge: true"}
    program = asyncio.run(resolve(MODEL_SERVER, settings=settings))
    assert json.loads(program.env["OUTRIDER_SIMULATOR"]) == {"error-rate": 0.5}


def test_the_more_particular_setting_wins() -> None:
    data = {
        "*": "{load-seconds: 1, seed: 1, error-rate: 0}",
        "v1.2.0": "{seed: 2, error-rate: 0.1}",
        "llama@v1.2.0": '{"error-rate": 0.2}',
        "mistral@v1.2.0": '{"error-rate": 0.9}',
    }
    assert simulator_settings(data, "llama", "v1.2.0") == {"load-seconds": 1, "seed": 2, "error-rate": 0.2}
    assert simulator_settings(data, "llama", "v1.1.0") == {"load-seconds": 1, "seed": 1, "error-rate": 0}
    assert simulator_settings({}, "llama", "v1.2.0") == {}


def test_keys_that_a_real_cluster_allows_mean_the_same() -> None:
    data = {"default": "{seed: 1}", "llama_v1.2.0": "{error-rate: 0.2}"}
    assert simulator_settings(data, "llama", "v1.2.0") == {"seed": 1, "error-rate": 0.2}


BAD_SETTINGS = {
    "not YAML": ("{", "not JSON or YAML"),
    "not an object": ("[1]", "must be an object"),
}


def test_settings_that_cannot_be_read_are_named() -> None:
    for sentence, (text, message) in BAD_SETTINGS.items():
        with pytest.raises(ConfigError) as caught:
            simulator_settings({"v1": text}, "llama", "v1")
        assert message in str(caught.value), sentence
        assert "key v1" in str(caught.value), sentence


def test_the_real_engine_is_the_one_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vllm = tmp_path / "vllm"
    vllm.write_text("#!/bin/sh\n")
    vllm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "secret")
    program = asyncio.run(resolve(MODEL_SERVER, engine="vllm"))
    assert program.argv == (str(vllm), "serve", "org/model", "--port=8080")
    assert "HF_HOME" in program.env
    assert "HF_TOKEN" not in program.env


def vllm_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **resources: Any) -> dict[str, str]:
    (tmp_path / "vllm").write_text("#!/bin/sh\n")
    (tmp_path / "vllm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return dict(asyncio.run(resolve(MODEL_SERVER | {"resources": resources}, engine="vllm")).env)


def test_the_real_engine_has_this_users_settings_caches_and_proxy_but_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("VLLM_", "HF_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    env = vllm_environment(monkeypatch, tmp_path)
    assert env["HF_HOME"] == "/home/somebody/.cache/huggingface"
    assert env["VLLM_CACHE_ROOT"] == "/home/somebody/.cache/vllm"
    assert env["VLLM_CONFIG_ROOT"] == "/home/somebody/.config/vllm"
    assert env["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert env["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert not {"VLLM_API_KEY", "SOMETHING_ELSE"} & set(env)


CPU_CACHE: dict[str, tuple[dict[str, Any], str]] = {
    "half of the memory it may use": ({"limits": {"memory": "32Gi"}, "requests": {"memory": "24Gi"}}, "16"),
    "half of what it asks for": ({"limits": {"cpu": "4"}, "requests": {"memory": "24Gi"}}, "12"),
    "never less than vLLM's unit": ({"limits": {"memory": "512Mi"}}, "1"),
    "the unit, where nothing is said": ({}, "1"),
}


def test_an_engine_on_the_cpu_takes_its_share_not_the_whole_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    for sentence, (resources, expected) in CPU_CACHE.items():
        env = vllm_environment(monkeypatch, tmp_path, **resources)
        assert env["VLLM_CPU_KVCACHE_SPACE"] == expected, sentence
        assert env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind", sentence
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "3")
    assert vllm_environment(monkeypatch, tmp_path)["VLLM_CPU_KVCACHE_SPACE"] == "3"


def test_without_the_real_engine_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageNotAvailable, match="--engine simulator"):
        asyncio.run(resolve(MODEL_SERVER, engine="vllm"))


def test_another_image_runs_as_it_is_if_its_command_is_here() -> None:
    program = asyncio.run(resolve(container("busybox", "sh", "-c", args=("echo hi",))))
    assert program.argv == ("sh", "-c", "echo hi")


NOT_AVAILABLE = {
    "no command": (container("nginx:1.29"), "no container engine"),
    "a command that is not here": (container("nginx", "no-such-program-here"), "'no-such-program-here'"),
}


def test_an_image_that_cannot_be_run_says_what_to_do() -> None:
    for sentence, (wanted, message) in NOT_AVAILABLE.items():
        with pytest.raises(ImageNotAvailable) as caught:
            asyncio.run(resolve(wanted))
        assert message in caught.value.message, sentence
        assert "cannot be run as a local process" in caught.value.message, sentence
        assert "use a cluster" in caught.value.message, sentence
