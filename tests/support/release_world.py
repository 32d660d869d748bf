"""A service of which a version serves and the next one is released by steps, in a world of pods without time."""

from typing import Any

from plan_world import LLAMA, PlanWorld, merged
from release_evidence import after, old, pods

from outrider.api import labels
from outrider.api.llmdeployment import ReleaseStatus, TrafficStatus
from outrider.plan.deployment.snapshot import PlanConfig

ROUTED = PlanConfig(gateway_name="gateway", gateway_namespace="outrider-system", base_url="http://gateway")
STEPS = [{"weight": 10, "duration": "60s"}, {"weight": 50, "duration": "60s"}]
AUTOMATIC = {"rollback": {"autoRollback": {"enabled": True, "minRequests": 0}, "standby": "300s"}}


def world(strategy: str = "Canary", *, config: PlanConfig = ROUTED, replicas: int = 4, **deployment: Any) -> PlanWorld:
    """A service of which v1.0.0 serves."""
    by_default = {"canary": {"steps": STEPS}} if strategy == "Canary" else {}
    release = {"deployment": {"rolloutStrategy": strategy, **by_default, **deployment}}
    spec = merged(LLAMA, {"spec": merged({"replicas": replicas}, merged(AUTOMATIC, release))})
    made = PlanWorld(spec, config=config, gpus_per_node=16)
    made.settle()
    assert made.condition("Ready").status == "True"
    return made


def released(made: PlanWorld, version: str = "v2.0.0") -> ReleaseStatus:
    made.version(version)
    go_on(made)
    return release(made)


def go_on(made: PlanWorld, seconds: float = 5.0, rounds: int = 0) -> None:
    """Let operator and cluster take turns for so many seconds."""
    rounds = rounds or max(20, int(seconds / 2))
    for _ in range(rounds):
        made.reconcile()
        made.tick(seconds / rounds)


def release(made: PlanWorld) -> ReleaseStatus:
    found = made.status.release
    assert found is not None
    return found


def traffic(made: PlanWorld) -> TrafficStatus:
    found = made.status.traffic
    assert found is not None
    return found


def sizes(made: PlanWorld) -> dict[str, int]:
    """Pods that there are, by version."""
    found: dict[str, int] = {}
    for pod in made.pods:
        if not pod["metadata"].get("deletionTimestamp"):
            version = pod["metadata"]["labels"][labels.MODEL_VERSION]
            found[version] = found.get(version, 0) + 1
    return found


def selected(made: PlanWorld) -> str:
    """The version that the Service selects; empty where it selects every pod."""
    selector = made.objects["Service", "llama"]["spec"]["selector"]
    revision = selector.get(labels.REVISION, "")
    return next((one.spec.version for one in made.revisions() if one.spec.hash == revision), "")


def weights(made: PlanWorld) -> list[int]:
    rule = made.objects["HTTPRoute", "llama"]["spec"]["rules"][0]
    return [ref["weight"] for ref in rule["backendRefs"]]


def annotate(made: PlanWorld, annotation: str, value: str) -> None:
    name = f"llama-{release(made).revision}"
    made.objects["ModelRevision", name]["metadata"].setdefault("annotations", {})[annotation] = value


def turns_bad(made: PlanWorld) -> None:
    """From now on all of the candidate's answers are bad, and none of the stable one's."""
    made.counted = after([(pods((20, 20)), old((0, 40)))] * 6)
