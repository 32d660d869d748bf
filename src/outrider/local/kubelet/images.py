"""Which local process stands for a container image."""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

from outrider.api.labels import MODEL, MODEL_VERSION, SIMULATOR_CONFIG_MAP
from outrider.api.quantity import Quantity
from outrider.kube.api import Api, NotFound
from outrider.kube.objects import CONFIG_MAP
from outrider.local.kubelet.environment import ConfigError

Engine = Literal["simulator", "vllm"]

MODEL_SERVER_IMAGE = "vllm/vllm-openai"
SIMULATOR_MODULE = "outrider.serving.simulator"
SIMULATOR_VARIABLE = "OUTRIDER_SIMULATOR"
ENTRY_POINTS: Mapping[str, tuple[str, ...]] = {"curlimages/curl": ("curl",)}
"""What images run that are given no command, where the same program can be on this machine."""
_API_SERVER_MODULE = "vllm.entrypoints.openai.api_server"
_VLLM_VARIABLES = (
    *("CUDA_HOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "OMP_NUM_THREADS"),
    *("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "DO_NOT_TRACK"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
)
"""What a real engine may need of our own environment, beside its own settings, which all begin with `VLLM_`. Tokens and
keys are not among it: pods name their Secrets, and an engine with a key of ours would refuse the pod's probes."""
_VLLM_SECRETS = frozenset({"VLLM_API_KEY"})


class ImageNotAvailable(Exception):
    """No local process stands for the image; the message says what to do about it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Program:
    """A local process: its arguments, and variables that the container's own override."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


class ImageResolver(Protocol):
    async def __call__(self, namespace: str, pod: Mapping[str, Any], container: Mapping[str, Any]) -> Program:
        """The process to run for this container, whose `command` and `args` are already expanded.

        Raises:
            ImageNotAvailable: there is none.
            ConfigError: the configuration that belongs to it cannot be used.
        """
        ...


class LocalImages:
    """The local world's images: model servers are simulated or run by the local vLLM, anything else runs as it is."""

    def __init__(self, api: Api, *, engine: Engine = "simulator") -> None:
        self._api = api
        self._engine = engine

    async def __call__(self, namespace: str, pod: Mapping[str, Any], container: Mapping[str, Any]) -> Program:
        command = [str(word) for word in container.get("command") or ()]
        args = [str(word) for word in container.get("args") or ()]
        image = str(container.get("image") or "")
        if repository(image) == MODEL_SERVER_IMAGE:
            serve = serve_arguments(command, args)
            if serve is not None:
                if self._engine == "vllm":
                    return _vllm(serve, container)
                return await self._simulator(namespace, pod, serve)
        return _program(image, command, args)

    async def _simulator(self, namespace: str, pod: Mapping[str, Any], serve: Sequence[str]) -> Program:
        if importlib.util.find_spec(SIMULATOR_MODULE) is None:
            raise ImageNotAvailable(f"the simulated model server ({SIMULATOR_MODULE}) is not installed")
        settings = await self._settings(namespace, pod)
        env = {SIMULATOR_VARIABLE: json.dumps(settings)} if settings else {}
        if path := os.environ.get("PYTHONPATH"):
            env["PYTHONPATH"] = path  # then this is how we were found, and how the simulator will be
        return Program((sys.executable, "-m", SIMULATOR_MODULE, "serve", *serve), env)

    async def _settings(self, namespace: str, pod: Mapping[str, Any]) -> dict[str, Any]:
        try:
            data = (await self._api.get(CONFIG_MAP, SIMULATOR_CONFIG_MAP, namespace)).data
        except NotFound:
            return {}
        labels = (pod.get("metadata") or {}).get("labels") or {}
        return simulator_settings(data, labels.get(MODEL, ""), labels.get(MODEL_VERSION, ""))


def make_image_resolver(api: Api, *, engine: Engine = "simulator") -> ImageResolver:
    """The local world's images: model servers by that engine."""
    return LocalImages(api, engine=engine)


def repository(image: str) -> str:
    """The last two parts of an image's name, without registry, tag and digest: `vllm/vllm-openai`."""
    name = image.partition("@")[0]
    *parents, last = name.split("/")
    return "/".join([*parents, last.partition(":")[0]][-2:])


def serve_arguments(command: Sequence[str], args: Sequence[str]) -> list[str] | None:
    """What follows `vllm serve`, the model first; None when the command is not one that serves a model.

    Without a command it is the image's own entry point that takes the arguments.
    """
    words = [*command, *args]
    if not command:
        return _model_first(words)
    if Path(words[0]).name == "vllm":
        return list(words[2:]) if words[1:2] == ["serve"] else None
    if Path(words[0]).name.startswith("python") and words[1:3] == ["-m", _API_SERVER_MODULE]:
        return _model_first(words[3:])
    return None


def _vllm(serve: Sequence[str], container: Mapping[str, Any]) -> Program:
    program = shutil.which("vllm")
    if program is None:
        raise ImageNotAvailable(
            "the engine is vllm, but there is no program `vllm` on the PATH of the local world: install it "
            "(pip install vllm), and start the world anew with it on the PATH (outrider down; outrider up --engine "
            "vllm), or use the simulated model server (--engine simulator)"
        )
    return Program((program, "serve", *serve), _vllm_environment(container))


def _vllm_environment(container: Mapping[str, Any]) -> dict[str, str]:
    """Ours as far as it concerns the engine; the caches of this user, which a pod's own home folder would hide.

    `VLLM_CONFIG_ROOT` is where this user may have opted out of usage statistics. On a CPU every vLLM binds its threads
    to the same first cores: beside a busy server a second one gets hardly any time to start, so they are not bound.
    """
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    defaults = {
        "HF_HOME": os.environ.get("HF_HOME") or str(cache / "huggingface"),
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "VLLM_CONFIG_ROOT": str(Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "vllm"),
        "VLLM_CPU_KVCACHE_SPACE": str(_cpu_cache_gibibytes(container)),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    wanted = [name for name in os.environ if name in _VLLM_VARIABLES or name.startswith("VLLM_")]
    return defaults | {name: os.environ[name] for name in wanted if name not in _VLLM_SECRETS}


def _cpu_cache_gibibytes(container: Mapping[str, Any]) -> int:
    """The KV cache of an engine that runs on the CPU, in GiB: half of the container's memory, the rest for the weights.

    Left to itself vLLM takes 92 % of the machine's memory (0.32, `--gpu-memory-utilization`), and a second server on
    the same machine, as every rolling update needs, refuses to start. A GPU engine ignores the variable.
    """
    resources = container.get("resources") or {}
    memory = next(
        (part["memory"] for key in ("limits", "requests") if (part := resources.get(key) or {}).get("memory")), ""
    )
    try:
        return max(1, Quantity.from_json(memory).whole // 2 // 2**30)
    except ValueError:
        return 1


def _model_first(words: Sequence[str]) -> list[str]:
    """The older entry point takes the model as `--model NAME`."""
    for index, word in enumerate(words):
        if word == "--model" and index + 1 < len(words):
            return [words[index + 1], *words[:index], *words[index + 2 :]]
        if word.startswith("--model="):
            return [word.removeprefix("--model="), *words[:index], *words[index + 1 :]]
    return list(words)


def simulator_settings(data: Mapping[str, str], model: str, version: str) -> dict[str, Any]:
    """The settings for this model version, the more particular key winning: `*`, then VERSION, then MODEL@VERSION.

    The API server of a real cluster allows neither `*` nor `@` in a key; there `default` and `MODEL_VERSION` do.

    Raises:
        ConfigError: a value is not a JSON or YAML object.
    """
    settings: dict[str, Any] = {}
    for key in ("default", "*", version, f"{model}_{version}", f"{model}@{version}"):
        if key not in data or not key:
            continue
        try:
            value = yaml.safe_load(data[key])
        except yaml.YAMLError as error:
            where = f'configmap "{SIMULATOR_CONFIG_MAP}" key {key}'
            raise ConfigError(f"{where}: not JSON or YAML: {error}") from None
        if value is not None and not isinstance(value, dict):
            raise ConfigError(
                f'configmap "{SIMULATOR_CONFIG_MAP}" key {key}: must be an object such as {{error-rate: 0.1}}'
            )
        settings |= value or {}
    return settings


def _program(image: str, command: Sequence[str], args: Sequence[str]) -> Program:
    """A container with a command of its own, or with a program that is known, run as it is."""
    command = command or ENTRY_POINTS.get(repository(image), ())
    if not command:
        raise ImageNotAvailable(
            f"image {image} cannot be run as a local process: the local world has no container engine. Give the "
            f"container a `command` whose program is on this machine, use image {MODEL_SERVER_IMAGE}, or use a cluster"
        )
    if shutil.which(command[0]) is None:
        raise ImageNotAvailable(
            f"image {image} cannot be run as a local process: its command {command[0]!r} is not on this machine. "
            "Install the program, change the `command`, or use a cluster"
        )
    return Program((*command, *args))
