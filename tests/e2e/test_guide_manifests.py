"""Every LLMDeployment of the SRE guide, and its hand-over ConfigMap, applies as printed and becomes Ready."""

import pytest
from story_world import GUIDE, LocalWorld

from outrider.api.capabilities import CONDITIONAL, NOT_ACTED_ON

pytestmark = pytest.mark.e2e

MANIFESTS = {
    "poc.yaml": ("llama-3.1-8b-poc", "development"),
    "production.yaml": ("llama-3.1-8b-prod", "production"),
    "versioning.yaml": ("llama-3.1-8b", "production"),
    "green.yaml": ("llama-3.1-8b-green", "production"),
}


def test_every_manifest_of_the_guide_applies_unmodified_and_becomes_ready(running: LocalWorld) -> None:
    for file in MANIFESTS:
        running.outrider("apply", "--filename", str(GUIDE / file))
    running.outrider("apply", "--filename", str(GUIDE / "handoff-configmap.yaml"))
    for name, namespace in MANIFESTS.values():
        running.outrider("rollout", "status", name, "--namespace", namespace)
        item = running.get(name, namespace)
        assert item["status"]["phase"] == "Ready"
        known = (*NOT_ACTED_ON, *CONDITIONAL)
        unknown = [path for path in item["status"].get("ignoredFields", []) if not path.startswith(known)]
        assert unknown == [], "every field of the guide is known"
    handoff = running.get("llama-3.1-8b-handoff", "production", kind="configmap")
    assert "operational-requirements.yaml" in handoff["data"]
    assert running.outrider("status").code == 0


def test_the_listing_that_the_guides_readers_pipe_into_awk_has_no_empty_cells(running: LocalWorld) -> None:
    running.outrider("apply", "--filename", str(GUIDE / "versioning.yaml"))
    running.outrider("apply", "--filename", str(GUIDE / "poc.yaml"))
    for _ in range(5):  # also while nothing is ready yet
        rows = running.outrider("get", "llmdeployments", "-A", "--output", "wide").out.splitlines()
        columns = [len(row.split()) for row in rows]
        assert len(set(columns)) == 1, rows
    header = rows[0].split()
    assert header[:5] == ["NAMESPACE", "NAME", "VERSION", "PHASE", "READY"]


def test_an_unknown_field_is_kept_and_reported(running: LocalWorld) -> None:
    manifest = (
        (GUIDE / "versioning.yaml").read_text().replace("  rollback:\n", "  frobnicate: {level: 9}\n  rollback:\n")
    )
    told = running.outrider("apply", "--filename", "-", "--wait", stdin=manifest).out
    assert "spec.frobnicate" in told
    item = running.get("llama-3.1-8b")
    assert item["spec"]["frobnicate"] == {"level": 9}
    assert any("frobnicate" in path for path in item["status"]["ignoredFields"])
