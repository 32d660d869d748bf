"""The SRE guide's kubectl lines that change something, with the oldest and the newest kubectl."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubectls import ENDS, Shell, find_kubectl, versions
from story_world import GUIDE, LocalWorld, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long(minutes=5),
    pytest.mark.only("kubernetes", reason="kubectl needs a real API server"),
    pytest.mark.usefixtures("base"),
]

NAME = "llama-3.1-8b"
PATCH = "kubectl patch llmdeployment {} -n production --type='merge' -p='{}'"


@pytest.fixture
def shell(running: LocalWorld, minor: int, tmp_path: Path) -> Shell:
    """A shell with kubectl of one version, on an empty world."""
    return Shell(running, find_kubectl(minor, running), tmp_path)


@pytest.fixture
def drained(running: LocalWorld) -> Iterator[LocalWorld]:
    """Whatever the story cordoned takes pods again afterwards."""
    yield running
    running.kubectl("uncordon", "--selector=node-type=gpu")


def applied(shell: Shell, file: str = "versioning.yaml", name: str = NAME) -> None:
    """Apply a manifest of the guide, and wait as the guide waits."""
    said = shell.run(f"kubectl apply -f {GUIDE / file}")
    assert said.splitlines()[-1] == f"llmdeployment.inference.llm-d.io/{name} created"
    said = shell.run(f"kubectl wait --for=condition=Ready llmdeployment/{name} -n production --timeout=600s")
    assert said == f"llmdeployment.inference.llm-d.io/{name} condition met\n"


def pods(shell: Shell) -> list[str]:
    return shell.run("kubectl get pods -n production -o name").split()


def field(shell: Shell, what: str, path: str) -> str:
    return shell.run(f"kubectl get {what} -n production -o jsonpath='{{{path}}}'")


def events(shell: Shell, reason: str) -> str:
    return shell.run(f"kubectl get events -n production --field-selector reason={reason} -o jsonpath='{{..message}}'")


@versions(ENDS)
def test_every_manifest_of_the_guide_is_applied_as_it_is_printed(shell: Shell) -> None:
    named = {
        "poc.yaml": ("development", "llama-3.1-8b-poc"),
        "production.yaml": ("production", "llama-3.1-8b-prod"),
        "versioning.yaml": ("production", NAME),
        "green.yaml": ("production", f"{NAME}-green"),
    }
    shell.run(f"kubectl apply -f {GUIDE / 'handoff-configmap.yaml'}")
    for file in named:
        shell.run(f"kubectl apply -f {GUIDE / file}")
    for namespace, name in named.values():
        shell.run(f"kubectl wait --for=condition=Ready llmdeployment/{name} -n {namespace} --timeout=600s")
    rows = shell.lines("kubectl get llmdeployments -A --no-headers")
    assert {(row[0], row[1], row[3]) for row in rows} == {(*place, "Ready") for place in named.values()}


@versions(ENDS)
def test_a_rollback_by_hand_as_the_guide_does_it(shell: Shell) -> None:
    applied(shell)
    assert shell.run(PATCH.format(NAME, '{"spec": {"model": {"version": "v1.3.0"}}}')).endswith(" patched\n")
    ready = f"kubectl wait --for=condition=Ready llmdeployment/{NAME} -n production --timeout=600s"
    shell.run(ready)
    assert field(shell, f"llmdeployment/{NAME}", ".status.servingVersion") == "v1.3.0", "not Ready for the old version"
    said = shell.run((GUIDE / "rollback.sh").read_text())
    assert f"llmdeployment.inference.llm-d.io/{NAME} patched\n" in said
    assert said.endswith(f'deployment "{NAME}" successfully rolled out\n')
    shell.run(ready)
    assert field(shell, f"llmdeployment/{NAME}", ".status.servingVersion") == "v1.2.0"
    revisions = [row[0] for row in shell.lines(f"kubectl rollout history deployment/{NAME} -n production")[2:] if row]
    assert revisions == ["2", "3"], "the first template is the newest again"


@versions(ENDS)
def test_what_kubectl_does_to_the_deployment_is_put_back_and_told(shell: Shell) -> None:
    applied(shell)
    shell.run(PATCH.format(NAME, '{"spec": {"model": {"version": "v1.3.0"}}}'))
    shell.run(f"kubectl wait --for=condition=Ready llmdeployment/{NAME} -n production --timeout=600s")
    version = r".spec.template.metadata.labels.inference\.llm-d\.io/version"

    def is_as_it_was() -> bool:
        return field(shell, f"deployment/{NAME}", version + "}{.spec.replicas") == "v1.3.01"

    assert shell.run(f"kubectl rollout undo deployment/{NAME} -n production") == f"deployment.apps/{NAME} rolled back\n"
    wait_for(lambda: "somebody went back to v1.2.0" in events(shell, "DriftCorrected"), "the undo to be told")
    wait_for(is_as_it_was, "the template to be put back")
    assert (
        shell.run(f"kubectl scale deployment/{NAME} -n production --replicas=4") == f"deployment.apps/{NAME} scaled\n"
    )
    wait_for(is_as_it_was, "the replicas to be put back")
    shell.put("editor", '#!/bin/sh\nsed -i "s/v1.3.0/v9.9.9/g" "$1"\n')
    edited = shell.run(f"kubectl edit deployment/{NAME} -n production", EDITOR="editor")
    assert edited == f"deployment.apps/{NAME} edited\n"
    wait_for(is_as_it_was, "the template to be put back")
    selector = '{"spec": {"selector": {"deployment": "green"}}}'
    shell.run(f"kubectl patch service llama-3-1-8b -n production --type='merge' -p='{selector}'")
    was = f'{{"inference.llm-d.io/deployment":"{NAME}"}}'
    wait_for(lambda: field(shell, "service/llama-3-1-8b", ".spec.selector") == was, "the selector to be put back")
    shell.run(f"kubectl rollout status deployment/{NAME} -n production --timeout=300s")
    assert field(shell, f"llmdeployment/{NAME}", ".status.servingVersion") == "v1.3.0"


@versions(ENDS)
def test_what_kubectl_does_to_the_llmdeployment_is_done(shell: Shell) -> None:
    manifest = GUIDE / "versioning.yaml"
    newer = shell.folder / "newer.yaml"
    newer.write_text(manifest.read_text().replace("v1.2.0", "v1.3.0"))
    served = f"llmdeployment.inference.llm-d.io/{NAME}"
    assert shell.run(f"kubectl apply --server-side -f {manifest}").splitlines()[-1] == f"{served} serverside-applied"
    ready = f"kubectl wait --for=condition=Ready llmdeployment/{NAME} -n production --timeout=600s"
    shell.run(ready)
    assert shell.run(f"kubectl diff --server-side -f {manifest}") == "", "nothing that was defaulted shows as a change"
    difference = shell.run(f"kubectl diff --server-side -f {newer}", code=1)
    assert "-    version: v1.2.0\n+    version: v1.3.0\n" in difference
    assert shell.run(f"kubectl scale llmdeployment/{NAME} -n production --replicas=2") == f"{served} scaled\n"
    shell.run(ready)
    assert field(shell, f"deployment/{NAME}", ".status.readyReplicas") == "2"
    shell.put("editor", '#!/bin/sh\nsed -i "s/version: v1.2.0/version: v1.4.0/" "$1"\n')
    assert shell.run(f"kubectl edit llmdeployment/{NAME} -n production", EDITOR="editor") == f"{served} edited\n"
    shell.run(ready)
    assert field(shell, f"llmdeployment/{NAME}", ".status.servingVersion") == "v1.4.0"


@versions(ENDS)
def test_a_drain_is_held_back_by_the_disruption_budget_then_done(drained: LocalWorld, shell: Shell) -> None:
    """Two replicas on two nodes. While one of them is missing, the other is not evicted."""
    applied(shell, "production.yaml", "llama-3.1-8b-prod")
    places = dict(
        row
        for row in shell.lines(
            "kubectl get pods -n production --no-headers -o custom-columns=:.spec.nodeName,:.metadata.name"
        )
    )
    assert places.keys() == {"node-1", "node-2"}, "replicas are spread"
    assert shell.run("kubectl cordon node-2") == "node/node-2 cordoned\n"
    assert shell.lines("kubectl get nodes node-2 --no-headers")[0][1] == "Ready,SchedulingDisabled"
    # node-1 has no room for the replica of node-2 either, so it stays missing.
    assert shell.run("kubectl cordon node-1") == "node/node-1 cordoned\n"
    shell.run(f"kubectl delete pod {places['node-1']} -n production")
    as_printed = "kubectl drain node-2 --ignore-daemonsets --force"
    # Where a pod keeps its model's files: kubectl wants to hear that they may go (docs/guide/sre-guide.md).
    assert "use --delete-emptydir-data to override" in shell.run(as_printed, code=1)
    drain = f"{as_printed} --delete-emptydir-data"
    held = shell.run(f"{drain} --timeout=3s", code=1)
    assert "Cannot evict pod as it would violate the pod's disruption budget." in held
    assert f"pod/{places['node-2']}" in pods(shell)
    shell.run("kubectl uncordon node-1")
    done = shell.run(drain)
    assert f"evicting pod production/{places['node-2']}" in done
    assert done.endswith("node/node-2 drained\n")
    shell.run("kubectl wait --for=condition=Ready llmdeployment/llama-3.1-8b-prod -n production --timeout=600s")
    assert {
        row[0] for row in shell.lines("kubectl get pods -n production --no-headers -o custom-columns=:.spec.nodeName")
    } == {"node-1"}


@versions(ENDS)
def test_deleting_in_the_foreground_waits_for_the_pods_and_in_the_background_does_not(shell: Shell) -> None:
    applied(shell)
    said = shell.run(f"kubectl delete llmdeployment {NAME} -n production --cascade=foreground")
    assert said.startswith(f'llmdeployment.inference.llm-d.io "{NAME}" deleted')
    assert pods(shell) == []
    applied(shell)
    said = shell.run(f"kubectl delete llmdeployment {NAME} -n production")
    assert said.startswith(f'llmdeployment.inference.llm-d.io "{NAME}" deleted')
    wait_for(lambda: pods(shell) == [], "the pods to go, too")
    left = "kubectl get deployments,services,httproutes,poddisruptionbudgets,modelrevisions -n production -o name"
    wait_for(lambda: shell.run(left) == "", "what it owned to go")
