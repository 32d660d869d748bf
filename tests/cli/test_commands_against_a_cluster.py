"""What commands print, refuse and change, asked of a store that holds what they are told."""

import json
from pathlib import Path

import pytest
import yaml

from outrider.cli.errors import Exit

SERVICE = """
apiVersion: inference.llm-d.io/v1alpha1
kind: LLMDeployment
metadata: {name: llama, namespace: production}
spec: {model: {modelUri: "hf://meta-llama/Llama-3.1-8B-Instruct", version: v1.2.0}}
"""
SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: production}
stringData: {key: hunter2-is-secret}
"""


@pytest.fixture
def file(tmp_path: Path):
    def write(*documents: str) -> str:
        path = tmp_path / "manifests.yaml"
        path.write_text("\n---\n".join(documents))
        return str(path)

    return write


LOOKING = {
    "get": ["get", "llmd", "llama"],
    "describe": ["describe", "llama"],
    "logs": ["logs", "llama"],
    "status": ["status", "llama"],
    "plan": ["plan", "llama"],
    "rollout status": ["rollout", "status", "llama"],
    "rollout history": ["rollout", "history", "llama"],
    "rollout retry": ["rollout", "retry", "llama"],
    "rollout pause": ["rollout", "pause", "llama"],
    "rollout abort": ["rollout", "abort", "llama"],
    "explain release": ["explain", "release", "llama"],
    "rollback": ["rollback", "llama"],
    "unpin": ["unpin", "llama"],
    "delete": ["delete", "llmd", "llama"],
}


@pytest.mark.parametrize("arguments", LOOKING.values(), ids=LOOKING.keys())
def test_what_is_not_in_this_namespace_but_in_another_is_said(arguments, outrider, file) -> None:
    assert outrider("apply", "--filename", file(SERVICE))[0] == Exit.OK
    code, out, told = outrider(*arguments)
    assert (code, out) == (Exit.NOT_FOUND, "")
    assert told == (
        'error: llmdeployments "llama" not found in namespace default\n'
        "  it is in namespace production:  --namespace production\n"
    )


def test_an_object_that_is_in_no_namespace_is_not_found_in_all_of_them(outrider) -> None:
    code, _, told = outrider("get", "llmd", "llama", "--all-namespaces")
    assert (code, told) == (Exit.NOT_FOUND, 'error: llmdeployments "llama" not found in any namespace\n')


def test_a_service_may_be_named_as_get_prints_it(outrider, file) -> None:
    outrider("apply", "--filename", file(SERVICE))
    name = outrider("get", "llmd", "-n", "production", "-o", "name")[1].strip()
    for command in (["rollout", "history"], ["plan"], ["status"], ["describe"]):
        code, _, told = outrider(*command, name, "-n", "production")
        assert (code in (Exit.OK, Exit.FAILED), told) == (True, ""), command
    assert outrider("rollout", "history", "deployment/llama", "-n", "production")[0] == Exit.USAGE


def test_nothing_is_applied_when_the_server_refuses_one_of_several(outrider, file) -> None:
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n"
    number = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: number}\ndata: {a: 5}\n"
    lost = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: lost, namespace: nowhere}\n"
    code, out, told = outrider("apply", "--filename", file(good, number, lost))
    assert (code, out) == (Exit.INVALID, "")
    assert "of 3 manifests, 2 are refused" in told
    assert 'ConfigMap "number" is invalid: data[a]: Invalid value: 5' in told
    assert told.count("Invalid value: 5") == 1, "everything is said once"
    assert 'namespaces "nowhere" not found' in told
    assert outrider("get", "configmap", "good")[0] == Exit.NOT_FOUND


def test_errors_of_several_services_are_told_together(outrider, file) -> None:
    bad = SERVICE.replace("v1.2.0", '""')
    code, _, told = outrider("apply", "--filename", file(bad, bad.replace("name: llama", "name: other")))
    assert code == Exit.INVALID
    assert told.count("spec.model.version: Invalid value") == 2


def test_what_the_server_refuses_is_told_beside_what_was_refused_before_it_was_asked(outrider, file) -> None:
    bad = SERVICE.replace("v1.2.0", '""')
    pin = (
        "apiVersion: inference.llm-d.io/v1alpha1\nkind: VersionPin\nmetadata: {name: p, namespace: production}\n"
        "spec: {deploymentRef: 5, version: [v1]}\n"
    )
    for more in ([], ["--dry-run"]):
        code, _, told = outrider("apply", *more, "--filename", file(bad, pin))
        assert code == Exit.INVALID
        assert "of 2 manifests, 2 are refused" in told
        assert "spec.model.version: Invalid value" in told
        header, *lines = told[told.index("(document 2)") :].splitlines()
        assert header == '(document 2): VersionPin.inference.llm-d.io "p" is invalid'
        assert [line.strip() for line in lines] == [
            "spec.deployment: Required value: add it",
            'spec.version: Invalid value: ["v1"]: must be of type string',
        ]


def test_a_missing_namespace_can_be_made_as_the_hint_says(outrider, file) -> None:
    lost = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: lost, namespace: nowhere}\n"
    code, _, told = outrider("apply", "--filename", file(lost))
    assert code == Exit.NOT_FOUND
    body = told.partition("echo '")[2].partition("'")[0]
    assert outrider("apply", "--filename", file(body))[0] == Exit.OK
    assert outrider("apply", "--filename", file(lost))[0] == Exit.OK


def test_a_namespace_and_what_is_in_it_are_applied_together(outrider, file) -> None:
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: new}\n"
    inside = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: new}\n"
    assert outrider("apply", "--filename", file(namespace, inside))[0] == Exit.OK


def test_a_dry_run_changes_nothing(outrider, file) -> None:
    code, out, _ = outrider("apply", "--filename", file(SERVICE), "--dry-run")
    assert (code, out) == (Exit.OK, "llmdeployment.inference.llm-d.io/llama created (dry run)\n")
    assert outrider("get", "llmd", "llama", "-n", "production")[0] == Exit.NOT_FOUND
    outrider("apply", "--filename", file(SERVICE))
    assert outrider("delete", "llmd", "llama", "-n", "production", "--dry-run")[0] == Exit.OK
    assert outrider("get", "llmd", "llama", "-n", "production")[0] == Exit.OK


def test_delete_by_file_takes_nothing_from_another_namespace_than_the_one_named(outrider, file) -> None:
    outrider("apply", "--filename", file(SERVICE))
    code, _, told = outrider("delete", "--filename", file(SERVICE), "--namespace", "staging")
    assert code == Exit.USAGE
    assert "the manifest says namespace 'production', the command says 'staging'" in told
    assert outrider("get", "llmd", "llama", "-n", "production")[0] == Exit.OK


def test_describe_shows_how_much_is_in_a_secret_and_not_what(outrider, file) -> None:
    outrider("apply", "--filename", file(SECRET))
    _, out, _ = outrider("describe", "secret", "token", "-n", "production")
    assert yaml.safe_load(out.partition("\nEvents:")[0])["data"] == {"key": "17 bytes"}
    stored = json.loads(outrider("get", "secret", "token", "-n", "production", "-o", "json")[1])
    assert stored["data"]["key"] not in out


def test_status_of_one_namespace_counts_the_gpus_of_the_whole_cluster(outrider, file) -> None:
    outrider("apply", "--filename", file(SERVICE))
    report = json.loads(outrider("status", "-n", "staging", "-o", "json")[1])
    assert report["services"] == []
    everyone = json.loads(outrider("status", "-o", "json")[1])
    assert report["nodes"] == everyone["nodes"]
    _, out, _ = outrider("status", "-n", "staging")
    assert "no LLM services in namespace staging yet" in out
    assert "up for" not in out, "a cluster is no local world, and its age is unknown"


def test_a_rollback_with_nothing_to_go_back_to_says_where_to_look(outrider, file) -> None:
    outrider("apply", "--filename", file(SERVICE))
    code, _, told = outrider("rollback", "llama", "--namespace", "production")
    assert code == Exit.NOT_FOUND
    command = told.partition("see its history:  outrider ")[2].splitlines()[0].split()
    assert outrider(*command)[0] == Exit.OK


def test_logs_of_a_pod_that_does_not_exist(outrider) -> None:
    code, out, told = outrider("logs", "pod/nobody")
    assert (code, out) == (Exit.NOT_FOUND, "")
    assert told == (
        'error: pods "nobody" not found in namespace default\n'
        "  see which there are:  outrider get pods --all-namespaces\n"
    )
