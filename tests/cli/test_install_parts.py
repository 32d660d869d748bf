"""The parts of `outrider install` that need no cluster: differences, settings, images, and what pods wait for."""

from pathlib import Path
from typing import Any, cast

import pytest

from outrider import __version__
from outrider.cli.connection import Connection
from outrider.cli.errors import CliError, Exit
from outrider.cli.install.command import next_image
from outrider.cli.install.difference import differences
from outrider.cli.install.found import Found, refuse_local_world, refuse_second_operator
from outrider.cli.install.options import Chosen, merged, settings_of
from outrider.cli.install.ready import is_complete, troubles
from outrider.cli.main import run
from outrider.kube.objects import Deployment, DeploymentSpec, DeploymentStatus
from outrider.local.folder import WorldInfo
from outrider.plan.install.settings import Installation


def _object(**content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x", **content.pop("metadata", {})}, **content}


def _version(properties: dict[str, Any]) -> dict[str, Any]:
    return {"name": "v1", "schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": properties}}}}}


DIFFERENCES = {
    "nothing": (_object(a=1), _object(a=1), []),
    "a value": (_object(spec={"replicas": 2}), _object(spec={"replicas": 3}), ["spec.replicas: 2 -> 3"]),
    "a field that comes": (_object(), _object(data={"a": "b"}), ['data: added: {"a": "b"}']),
    "a field that goes": (_object(data={"a": "b"}), _object(data={}), ["data.a: removed: b"]),
    "an item of a list that is named": (
        _object(spec=[{"name": "a", "port": 1}, {"name": "b", "port": 2}]),
        _object(spec=[{"name": "b", "port": 3}, {"name": "a", "port": 1}]),
        ["spec[b].port: 2 -> 3"],
    ),
    "a word of a command line": (
        _object(args=["operator", "--a"]),
        _object(args=["operator", "--b"]),
        ["args: removed: --a", "args: added: --b"],
    ),
    "only the order": (_object(args=["a", "b"]), _object(args=["b", "a"]), ['args: ["a", "b"] -> ["b", "a"]']),
    "what the cluster keeps of it": (
        _object(metadata={"resourceVersion": "1", "managedFields": [1]}, status={"ready": 1}),
        _object(metadata={"resourceVersion": "2", "generation": 3}, status={}),
        [],
    ),
    "a label": (_object(metadata={"labels": {"a": "1"}}), _object(metadata={"labels": {"a": "2"}}), [
        "metadata.labels.a: 1 -> 2",
    ]),
    "a field of a schema": (
        _object(spec={"versions": [_version({})]}),
        _object(spec={"versions": [_version({"a": {"type": "string"}})]}),
        ['spec.versions[v1].spec.a: added: {"type": "string"}'],
    ),
    "a long text": (_object(a=""), _object(a="x" * 100), [f'a: "" -> {"x" * 57}...']),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "told"), DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_a_difference_is_told_field_by_field(before, after, told) -> None:
    assert [str(one) for one in differences(before, after)] == told


def test_options_win_over_files_and_files_over_what_is_installed(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("replicas: 4\nresources: {limits: {cpu: 2}}\nglobal: {helms: own}\n")
    base = Installation(gateway="infra/public", replicas=3)
    made = settings_of(Chosen(values=(file,), watch_namespaces="a, b"), base)
    assert (made.gateway, made.replicas, made.watch_namespaces) == ("infra/public", 4, ("a", "b"))
    assert made.resources.limits == {"memory": "1Gi", "cpu": 2}
    assert settings_of(Chosen(values=(file,), replicas=5), base).replicas == 5


def test_values_are_merged_as_helm_merges_them() -> None:
    below = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert merged(below, {"a": {"b": None, "e": 3}, "d": [2]}) == {"a": {"c": 2, "e": 3}, "d": [2]}


WRONG_VALUES = {
    "an unknown setting": ("colour: blue\n", Exit.USAGE, "`colour`"),
    "a wrong type": ("replicas: two\n", Exit.USAGE, "`$.replicas`"),
    "two documents": ("replicas: 1\n---\nreplicas: 2\n", Exit.INVALID, "one mapping of settings"),
    "a list": ("- a\n", Exit.INVALID, "one mapping of settings"),
    "no YAML": ("a: [\n", Exit.INVALID, "not valid YAML: line 2"),
    "a contradiction": ("clusterRoles: false\n", Exit.USAGE, "name the namespaces to look after"),
}


@pytest.mark.parametrize(("text", "code", "said"), WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
def test_a_wrong_values_file_is_refused_by_its_name(text, code, said, tmp_path: Path, capsys) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    assert run(["install", "--output", "yaml", "--values", str(file)]) == code
    told = capsys.readouterr().err
    assert str(file) in told
    assert said in told


def test_an_empty_values_file_says_nothing(tmp_path: Path, capsys) -> None:
    (tmp_path / "none.yaml").write_text("# nothing yet\n")
    assert run(["install", "--output", "yaml", "--values", str(tmp_path / "none.yaml")]) == Exit.OK
    with_file = capsys.readouterr().out
    run(["install", "--output", "yaml"])
    assert capsys.readouterr().out == with_file
    assert run(["install", "--output", "yaml", "--values", str(tmp_path / "lost.yaml")]) == Exit.NOT_FOUND


IMAGES = {
    "that of this version stays": ("r/outrider@sha256:1", __version__, "r/outrider@sha256:1"),
    "another tag in the same repository": ("r:5000/outrider:0.0.1", "0.0.1", f"r:5000/outrider:{__version__}"),
}


@pytest.mark.parametrize(("image", "version", "wanted"), IMAGES.values(), ids=IMAGES.keys())
def test_the_next_image_is_from_the_same_repository(image, version, wanted) -> None:
    assert next_image(image, version) == wanted


@pytest.mark.parametrize("image", ["r/outrider@sha256:1", "r/outrider:stable", "r/outrider"])
def test_an_image_whose_next_cannot_be_told_has_to_be_named(image) -> None:
    with pytest.raises(CliError, match="name that of version"):
        next_image(image, "0.0.1")


BOTH = {
    "all and all": ((), (), True),
    "all and some": ((), ("a",), True),
    "some and all": (("a",), (), True),
    "some and others": (("a",), ("b", "c"), False),
    "some and partly the same": (("a", "b"), ("b",), True),
}


@pytest.mark.parametrize(("theirs", "ours", "refused"), BOTH.values(), ids=BOTH.keys())
def test_namespaces_have_one_operator(theirs, ours, refused) -> None:
    found, settings = Found("mine", elsewhere={"theirs": theirs}), Installation(watch_namespaces=ours)
    if not refused:
        refuse_second_operator(found, settings)
        return
    with pytest.raises(CliError, match="the operator in namespace theirs looks after"):
        refuse_second_operator(found, settings)


def test_nothing_is_installed_into_a_local_world() -> None:
    world = cast("WorldInfo", object())
    connection = Connection(api=cast("Any", None), namespace="default", description="local world 'x'", world=world)
    with pytest.raises(CliError, match="local world 'x' runs the operator itself"):
        refuse_local_world(connection)


def _pod(*conditions: dict[str, str], **waiting: str) -> dict[str, Any]:
    container = {"image": "r/outrider:1", "state": {"waiting": waiting} if waiting else {"running": {}}}
    return {"metadata": {"name": "p"}, "status": {"conditions": list(conditions), "containerStatuses": [container]}}


PODS = {
    "it runs": (_pod(), []),
    "it has no node": (
        _pod({"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}),
        [("p has no node: 0/3 nodes are available", "")],
    ),
    "it is being made": (_pod(reason="ContainerCreating"), []),
    "its image cannot be had": (
        _pod(reason="ImagePullBackOff", message="not found"),
        [("p: ImagePullBackOff: not found", "r/outrider:1")],
    ),
    "it crashes": (_pod(reason="CrashLoopBackOff"), [("p: CrashLoopBackOff", "")]),
    "nothing is known yet": ({"metadata": {"name": "p"}}, []),
}


@pytest.mark.parametrize(("pod", "told"), PODS.values(), ids=PODS.keys())
def test_what_keeps_a_pod_from_running_is_told(pod, told) -> None:
    assert troubles(pod) == told


STATES = {
    "all are new and available": ((2, 2, 2), True),
    "an old pod is left": ((3, 2, 2), False),
    "one is not available": ((2, 2, 1), False),
    "none is there": ((0, 0, 0), False),
}


@pytest.mark.parametrize(("counts", "complete"), STATES.values(), ids=STATES.keys())
def test_the_operator_is_ready_when_all_its_pods_are_new_and_available(counts, complete) -> None:
    total, updated, available = counts
    status = DeploymentStatus(replicas=total, updated_replicas=updated, available_replicas=available)
    assert is_complete(Deployment(spec=DeploymentSpec(replicas=2), status=status)) is complete
