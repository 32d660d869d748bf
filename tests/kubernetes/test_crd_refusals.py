"""What the real API server says of LLMDeployments that slip past the CLI, and what becomes of stored ones."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from control_plane import RunningPlane

from outrider.api import rules
from outrider.api.crd import KINDS
from outrider.api.labels import API_VERSION
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import find_condition
from outrider.api.parse import parse_spec
from outrider.cli.main import run
from outrider.controllers.operator import Operator, OperatorConfig
from outrider.kube.api import Invalid, NotFound
from outrider.kube.clock import SystemClock
from outrider.kube.http import HttpApi
from outrider.kube.installed import CUSTOM_RESOURCE_DEFINITION
from outrider.kube.objects import DEPLOYMENT, EVENT
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan.install.manifests import crds
from outrider.signals.probe import ProbeResult
from outrider.signals.prober import ProbeTarget
from outrider.signals.scrape import ScrapeTarget

GOOD: dict[str, Any] = {"model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": "v1.0.0"}}
STRATEGIES = "RollingUpdate, Canary, BlueGreen, Recreate"
SECONDS = 60.0


pytestmark = pytest.mark.xdist_group("cluster-scoped")


@pytest.fixture
def plane(cluster_scoped: RunningPlane) -> RunningPlane:
    return cluster_scoped


@pytest.fixture
def install(plane: RunningPlane, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def install(*options: str) -> str:
        code = run(["install", "--crds-only", "--force-conflicts", "--kubeconfig", str(plane.kubeconfig), *options])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return install


def _manifest(spec: Any, name: str = "llama") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": API_VERSION, "kind": "LLMDeployment", "metadata": metadata, "spec": spec}


def _with(**parts: Any) -> dict[str, Any]:
    return {**GOOD, **parts}


def _model(**fields: Any) -> dict[str, Any]:
    return {"model": {**GOOD["model"], **fields}}


SAID_AS_THE_CLI_SAYS_IT = {
    "a URI of no known kind": _model(modelUri="llama"),
    "a version with a space": _model(version="v1 2"),
    "an unknown quantization": _model(quantization={"type": "int3"}),
    "an unknown strategy": _with(deployment={"rolloutStrategy": "yolo"}),
    "an unknown stage": _with(deployment={"stage": "gold"}),
    "a duration without a unit": _with(autoscaling={"scaleDownDelay": "5 minutes"}),
}


@pytest.mark.parametrize("spec", SAID_AS_THE_CLI_SAYS_IT.values(), ids=SAID_AS_THE_CLI_SAYS_IT.keys())
def test_what_is_no_allowed_text_is_refused_in_the_words_of_the_cli(spec, plane, install) -> None:
    install()
    parsed = parse_spec(spec, name="llama", namespace="default", annotations={}, labels={})
    assert _refusals(plane, spec) == [str(error) for error in parsed.errors]


OTHERS = {
    "no model": ({"replicas": 1}, ["spec.model: Required value"]),
    "a model that says nowhere": (
        {"model": {"version": "v1.0.0"}},
        [f"spec.model.modelUri: Invalid value: {rules.MODEL_SAYS_WHERE.message}"],
    ),
    "a number where a version belongs": (
        _model(version=1.2),
        ['spec.model.version: Invalid value: "number": spec.model.version in body must be of type string: "number"'],
    ),
    "replicas in quotes": (
        _with(replicas="2"),
        ['spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"'],
    ),
    "fewer than no replicas": (
        _with(replicas=-1),
        ["spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0"],
    ),
    "more at least than at most": (
        _with(autoscaling={"minReplicas": 3, "maxReplicas": 2}),
        [f"spec.autoscaling.minReplicas: Invalid value: {rules.MINIMUM_BELOW_MAXIMUM.message}"],
    ),
    "GPUs overcommitted": (
        _with(resources={"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}}),
        [f"spec.resources.requests: Invalid value: {rules.GPUS_NOT_OVERCOMMITTED.message}"],
    ),
    "an update that cannot move": (
        _with(deployment={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        [f"spec.deployment.rollingUpdate.maxSurge: Invalid value: {rules.ROLLING_UPDATE_MOVES.message}"],
    ),
    "everything that is wrong is said at once": (
        _with(deployment={"stage": "gold", "rolloutStrategy": "yolo"}),
        [
            'spec.deployment.stage: Invalid value: "gold": must be one of poc, development, staging, production',
            f'spec.deployment.rolloutStrategy: Invalid value: "yolo": must be one of {STRATEGIES}',
        ],
    ),
}


@pytest.mark.parametrize(("spec", "said"), OTHERS.values(), ids=OTHERS.keys())
def test_what_else_is_wrong_is_refused_and_the_field_is_named(spec, said, plane, install) -> None:
    install()
    refusals = _refusals(plane, spec)
    assert [line for line in refusals if line in said] == sorted(said, key=refusals.index)
    parsed = parse_spec(spec, name="llama", namespace="default", annotations={}, labels={})
    assert parsed.errors, "the CLI refuses it as well"


def test_kubectl_shows_the_refusal(plane, install) -> None:
    install()
    spec = _with(deployment={"stage": "gold"})
    done = plane.kubectl("apply", "-f", "-", stdin=msgspec.json.encode(_manifest(spec)).decode(), check=False)
    assert done.returncode == 1
    assert 'spec.deployment.stage: Invalid value: "gold": must be one of poc, development' in done.stderr


def _refusals(plane: RunningPlane, spec: Any) -> list[str]:
    """What the API server says of it, less what it says of its own checks."""

    async def ask() -> list[str]:
        async with HttpApi(plane.config) as api:
            with pytest.raises(Invalid) as refused:
                await api.create(LLM_DEPLOYMENT.into(dict), _manifest(spec), dry_run=True)
        causes = [f"{one['field']}: {one['message']}" for one in refused.value.details["causes"]]
        return [cause for cause in causes if not cause.startswith("<nil>")]

    return asyncio.run(ask())


# Objects that are already stored

STORED_AND_BAD = {
    "text-as-replicas": (_with(replicas="two"), "spec.replicas"),
    "nowhere": ({"model": {"version": "v1.0.0"}}, "spec.model.modelUri"),
    "no-model": ({"replicas": 1}, "spec.model.modelUri"),
    "an-unknown-strategy": (_with(deployment={"rolloutStrategy": "yolo"}), "spec.deployment.rolloutStrategy"),
}
NO_STATUS_IS_TAKEN = {
    "a-number-as-version": (_model(version=1.2), "spec.model.version"),
    "a-list-as-resources": (_with(resources=["gpu"]), "spec.resources"),
    "text-as-model": ({"model": "llama"}, "spec.model"),
}
"""The API server refuses every status of these: a rule of the schema cannot be evaluated on a value of another type."""


async def _permissive(api: HttpApi) -> None:
    """The CRD as a careless predecessor might have written it: anything goes."""
    definition = next(one for one in crds() if one["spec"]["names"]["kind"] == "LLMDeployment")
    (version,) = definition["spec"]["versions"]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    loose = {**version, "schema": {"openAPIV3Schema": anything}, "subresources": {"status": {}}}
    body = {**definition, "spec": {**definition["spec"], "versions": [loose]}}
    await api.apply(CUSTOM_RESOURCE_DEFINITION, body, owner="careless")


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + SECONDS
    while not await condition():
        assert loop.time() < until, f"waited {SECONDS:.0f} s for: {what}"
        await asyncio.sleep(0.1)


async def _stored(api: HttpApi, name: str, spec: Any) -> None:
    """Create it, once the API server has taken over the CRD that allows it."""

    async def created() -> bool:
        try:
            await api.create(LLM_DEPLOYMENT.into(dict), _manifest(spec, name))
        except (Invalid, NotFound):
            return False
        return True

    await _until(created, f"{name} is stored")


async def _probe(_target: ProbeTarget) -> ProbeResult:
    raise AssertionError("there are no pods")


async def _fetch(_target: ScrapeTarget) -> str:
    raise AssertionError("there are no pods")


def test_a_bad_object_that_is_stored_is_told_what_is_wrong_and_harms_no_other(plane, install) -> None:
    async def store() -> None:
        async with HttpApi(plane.config) as api:
            await _permissive(api)
            for name, (spec, _) in (STORED_AND_BAD | NO_STATUS_IS_TAKEN).items():
                await _stored(api, name, spec)
            await _stored(api, "good", _with(replicas=1))

    async def reported() -> None:
        async with HttpApi(plane.config) as api:
            operator = Operator(api, SystemClock(), OperatorConfig(), probe=_probe, fetch=_fetch)
            running = asyncio.create_task(operator.run())
            try:
                for name, (_, field) in STORED_AND_BAD.items():
                    await _until(partial(_is_told, api, name, field), f"{name} is told of {field}")
                for name, (_, field) in NO_STATUS_IS_TAKEN.items():
                    await _until(partial(_has_event, api, name, field), f"{name}: an event")
                await _until(lambda: _is_served(api), "the good one gets its Deployment")
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            listed = await api.list(DEPLOYMENT, "default")
            assert [one.metadata.name for one in listed.items] == ["good"], "of a bad object nothing is made"

    asyncio.run(store())
    install()
    asyncio.run(reported())


async def _is_told(api: HttpApi, name: str, field: str) -> bool:
    found: LLMDeployment = await api.get(LLM_DEPLOYMENT, name, "default")
    condition = find_condition(found.status.conditions, "SpecValid")
    return condition is not None and condition.status == "False" and field in condition.message


async def _has_event(api: HttpApi, name: str, field: str) -> bool:
    listed = await api.list(EVENT, "default")
    return any(
        one.regarding.name == name and (one.type, one.reason) == ("Warning", "InvalidSpec") and field in one.note
        for one in listed.items
    )


async def _is_served(api: HttpApi) -> bool:
    try:
        await api.get(DEPLOYMENT, "good", "default")
    except NotFound:
        return False
    return True


# Upgrades


def test_objects_of_the_previous_release_are_read_after_an_upgrade_as_they_were(plane, install, request) -> None:
    previous = request.path.parents[1] / "golden" / "crd" / "previous"
    _forget_crds(plane)
    for path in sorted(previous.glob("*.yaml")):
        plane.kubectl("apply", "--server-side", "-f", str(path))
        plane.kubectl("wait", "--for=condition=Established", "-f", str(path), "--timeout=60s")
    examples = request.path.parents[2] / "examples"
    manifests = [examples / "llama-3.1-8b.yaml", examples / "llama-3.1-70b.yaml"]
    manifests += sorted((request.path.parents[1] / "golden" / "guide").glob("*.yaml"))
    for namespace in ("development", "staging", "production"):
        plane.kubectl("create", "namespace", namespace, check=False)
    applied = [path for path in manifests if "kind: LLMDeployment" in path.read_text()]
    assert len(applied) >= 4
    plane.kubectl("apply", *(word for path in applied for word in ("-f", str(path))))
    for kind, body in HISTORY.items():
        plane.kubectl(
            "apply", "-f", "-", stdin=msgspec.json.encode({"apiVersion": API_VERSION, "kind": kind, **body}).decode()
        )
    before = _everything(plane)
    printed = install()
    assert "customresourcedefinition/llmdeployments.inference.llm-d.io changed" in printed
    after = _everything(plane)
    assert after == before
    # And what is stored may still be written: neither the new schema nor its rules refuse it.
    touched = [one | {"metadata": {**one["metadata"], "labels": {"touched": "yes"}}} for one in after]
    listed = {"apiVersion": "v1", "kind": "List", "items": touched}
    plane.kubectl("replace", "-f", "-", stdin=msgspec.json.encode(listed).decode())


HISTORY: dict[str, dict[str, Any]] = {
    "ModelRevision": {
        "metadata": {"name": "llama-0123456789", "namespace": "default"},
        "spec": {
            "deployment": "llama", "sequence": 1, "hash": "0123456789", "modelUri": "hf://a/b", "version": "v1.0.0"
        },
    },
    "VersionPin": {
        "metadata": {"name": "llama", "namespace": "default"},
        "spec": {"deployment": "llama", "version": "v1.0.0"},
    },
}  # fmt: skip


def _everything(plane: RunningPlane) -> list[dict[str, Any]]:
    """All objects of our kinds, without what says when and by whom they were written."""
    found = []
    for known in KINDS:
        text = plane.kubectl("get", f"{known.plural}.inference.llm-d.io", "-A", "-o", "json").stdout
        for one in msgspec.json.decode(text)["items"]:
            one["metadata"].pop("managedFields", None)
            found.append(one)
    return found


def _forget_crds(plane: RunningPlane) -> None:
    plane.kubectl("delete", "crd", *(f"{known.plural}.inference.llm-d.io" for known in KINDS), "--ignore-not-found")
