"""A bad release under real traffic is taken back by itself, and stays so whatever Git applies."""

import pytest
from client_traffic import raw_traffic
from story_world import ROOT, LocalWorld, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=2)]

NAME = "llama-3.1-8b"
MODEL = "Llama-3.1-8B-Instruct"
AUTO = 'previousVersions: ["v1.1.3"]\n    autoRollback: {enabled: true, triggers: [{errorRate: ">1%"}]}'
MANIFEST = (ROOT / "examples" / f"{NAME}.yaml").read_text().replace('previousVersions: ["v1.1.3"]', AUTO)


def test_a_version_that_fails_three_of_ten_requests_is_taken_back_and_git_does_not_bring_it_again(
    running: LocalWorld,
) -> None:
    running.outrider("apply", "--filename", str(ROOT / "examples" / "simulator-faults.yaml"))
    running.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    url = running.get(NAME)["status"]["url"]
    bad = MANIFEST.replace("v1.2.0", "v1.4.0")
    with raw_traffic(url, MODEL) as tally:
        wait_for(lambda: tally.requests > 40, "traffic")
        ended = running.outrider("apply", "--filename", "-", "--wait", stdin=bad, code=1)
        assert "v1.4.0 (revision" in ended.err
        assert "was rolled back" in ended.err
        wait_for(lambda: running.get(NAME)["status"]["phase"] == "RolledBack", "the old version everywhere")
        failed, seen = sum(tally.failures.values()), tally.requests
        for _ in range(5):
            running.outrider("apply", "--filename", "-", stdin=bad)
            status = running.get(NAME)["status"]
            assert (status["effectiveVersion"], status["servingVersion"]) == ("v1.2.0", "v1.2.0")
        wait_for(lambda: tally.requests > seen + 40, "traffic after it")
        assert sum(tally.failures.values()) == failed, "nobody meets the bad version any more"
    assert running.get(NAME)["spec"]["model"]["version"] == "v1.4.0", "what Git says is left alone"
    told = running.outrider("rollout", "status", NAME, "--namespace", "production", code=1)
    assert "v1.4.0 beside v1.2.0" in told.out
    history = running.json("rollout", "history", NAME, "--namespace", "production")
    assert [(one["version"], one["state"], one["current"]) for one in history] == [
        ("v1.4.0", "Quarantined", False),
        ("v1.2.0", "Serving", True),
    ]
