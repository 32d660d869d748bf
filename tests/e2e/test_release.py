"""Releases and rollbacks under the traffic of the official client and of a raw one."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from client_traffic import OpenAiTraffic, raw_traffic
from story_world import ROOT, LocalWorld, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=4)]

MANIFEST = (ROOT / "examples" / "llama-3.1-8b.yaml").read_text()
NAME = "llama-3.1-8b"
MODEL = "Llama-3.1-8B-Instruct"
WEDGED = """
apiVersion: v1
kind: ConfigMap
metadata: {name: outrider-simulator, namespace: production}
data:
  v1.6.0: "wedge: true"
"""


def version(text: str) -> str:
    return MANIFEST.replace("v1.2.0", text)


def test_release_and_rollback_lose_no_request_and_break_no_stream(running: LocalWorld) -> None:
    running.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    url = running.get(NAME)["status"]["url"]
    with OpenAiTraffic(url, MODEL) as official, raw_traffic(url, MODEL) as tally:
        wait_for(lambda: tally.requests > 40, "traffic")
        running.outrider("apply", "--filename", "-", "--wait", stdin=version("v1.3.0"))
        after_release = tally.requests
        wait_for(lambda: tally.requests > after_release + 40, "traffic on the new version")
        running.outrider("rollback", NAME, "--namespace", "production", "--reason", "a drill")
        after_rollback = tally.requests
        wait_for(lambda: tally.requests > after_rollback + 40, "traffic after the rollback")
    assert tally.failures == {}
    assert tally.broken_streams == 0
    assert official.failures == []
    assert official.sent > 20
    assert running.get(NAME)["status"]["servingVersion"] == "v1.2.0"


def _counted(metrics: str, revision: str) -> dict[str, float]:
    """Requests that the gateway has counted for a revision of this file's service, by code.

    Other services of a shared cluster may have the same revision: it is a hash of what a pod runs, without the
    service's name.
    """
    found = {}
    for line in metrics.splitlines():
        if not line.startswith("outrider_gateway_requests_total{"):
            continue
        if f'deployment="{NAME}"' in line and f'revision="{revision}"' in line:
            assert 'version="v1.2.0"' in line
            found[line.partition('code="')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
    return found


def test_the_gateway_counts_requests_by_revision_and_code(running: LocalWorld) -> None:
    running.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    url = running.get(NAME)["status"]["url"]
    gateway = running.info.gateway_url

    async def ask() -> tuple[str, str, str, str]:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{gateway}/-/metrics") as answer:
                before = await answer.text()
            body = {"model": MODEL, "prompt": "test", "max_tokens": 1}
            async with session.post(f"{url}/v1/completions", json=body) as answer:
                assert answer.status == 200
                request_id = answer.headers["x-request-id"]
            headers = {"Host": "llama-3.1-8b.production"}
            async with session.post(f"{gateway}/v1/completions", json=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                revision = answer.headers["x-outrider-revision"]
            async with session.get(f"{gateway}/-/metrics") as answer:
                return request_id, revision, before, await answer.text()

    request_id, revision, before, after = asyncio.run(ask())
    assert request_id
    earlier = _counted(before, revision).get("200", 0.0)
    assert _counted(after, revision)["200"] == earlier + 2


def test_a_pin_survives_the_same_manifest_again_and_again_and_unpin_resumes_the_spec(running: LocalWorld) -> None:
    running.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    running.outrider("apply", "--filename", "-", "--wait", stdin=version("v1.3.0"))
    running.outrider("rollback", NAME, "--namespace", "production")
    for _ in range(5):
        running.outrider("apply", "--filename", "-", stdin=version("v1.3.0"))
        status = running.get(NAME)["status"]
        assert status["effectiveVersion"] == "v1.2.0"
        assert status["servingVersion"] == "v1.2.0"
    rejected = [
        entry
        for entry in running.json("rollout", "history", NAME, "--namespace", "production")
        if entry["version"] == "v1.3.0"
    ]
    assert [entry["state"] for entry in rejected] == ["Quarantined"]
    running.outrider("unpin", NAME, "--namespace", "production")
    assert running.get(NAME)["status"]["servingVersion"] == "v1.3.0"


def test_the_guides_rollback_by_patching_the_version_goes_to_the_last_stable_one(
    running: LocalWorld, tmp_path: Path
) -> None:
    running.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    running.outrider("apply", "--filename", "-", "--wait", stdin=version("v1.3.0"))
    running.outrider("apply", "--filename", "-", "--wait", stdin=version("previous-stable-tag"))
    status = running.get(NAME)["status"]
    assert status["servingVersion"] == "v1.2.0"
    assert status["effectiveVersion"] == "v1.2.0"
    running.outrider("apply", "--filename", "-", "--wait", stdin=version("previous-stable-tag"))
    assert running.get(NAME)["status"]["servingVersion"] == "v1.2.0", "the alias keeps its meaning"


def test_a_crashing_version_never_takes_traffic_from_the_one_that_works(running: LocalWorld) -> None:
    running.outrider("apply", "--filename", str(ROOT / "examples" / "simulator-faults.yaml"))
    running.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    url = running.get(NAME)["status"]["url"]
    with raw_traffic(url, MODEL) as tally:
        late = running.outrider(
            "apply", "--filename", "-", "--wait", "--timeout", "8s", stdin=version("v1.5.0"), code=5
        )
        assert "v1.5.0" in late.err
        assert running.condition(NAME, "Ready")["status"] == "False"
        assert running.get(NAME)["status"]["servingVersion"] == "v1.2.0"
        running.outrider("rollback", NAME, "--namespace", "production")
    assert tally.failures == {}
    assert running.get(NAME)["status"]["phase"] in ("Ready", "RolledBack")


def test_a_version_that_answers_nothing_never_takes_traffic_from_the_one_that_works(running: LocalWorld) -> None:
    """Its pods are up, and `/health` and `/v1/models` say 200: only a real request shows that it is wedged."""
    running.outrider("apply", "--filename", "-", stdin=WEDGED)
    running.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    url = running.get(NAME)["status"]["url"]
    with raw_traffic(url, MODEL) as tally:
        running.outrider("apply", "--filename", "-", stdin=version("v1.6.0"))
        wait_for(lambda: running.condition(NAME, "Ready")["reason"] == "SyntheticCheckFailed", "a failing probe")
        assert running.get(NAME)["status"]["servingVersion"] == "v1.2.0"
        running.outrider("rollback", NAME, "--namespace", "production")
    assert tally.failures == {}
    assert tally.broken_streams == 0


def test_ready_is_false_for_the_new_generation_before_a_new_pod_exists(running: LocalWorld) -> None:
    running.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    running.outrider("apply", "--filename", "-", stdin=version("v1.3.0"))
    item = wait_for(
        lambda: (
            (found := running.get(NAME))["status"]["observedGeneration"] == found["metadata"]["generation"] and found
        ),
        "the operator to see the new generation",
    )
    ready = next(condition for condition in item["status"]["conditions"] if condition["type"] == "Ready")
    if item["status"]["servingVersion"] != "v1.3.0":
        assert ready["status"] == "False"
    running.outrider("rollout", "status", NAME, "--namespace", "production")
