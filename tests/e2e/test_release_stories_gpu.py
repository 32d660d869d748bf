"""A GPU that is lost under the new version: nobody blames the version, and its pod is made anew on another GPU."""

from collections.abc import Mapping
from typing import Any

import pytest
from lost_gpus import gpus_of, lose_gpus
from release_stories import BAD, NAMESPACE, Story, Told, has_all_traffic, is_tried, tell
from release_story_table import replicas_of
from story_world import LocalWorld
from world_api import listed, pods_of

from outrider.kube.objects import EVENT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long(minutes=1),
    pytest.mark.only("local", reason="the kubelet and the GPUs are the same where a real API server keeps the objects"),
]


def _story(strategy: str, **deployment: Any) -> Story:
    return Story(
        name=f"gpu-{strategy.lower()}",
        strategy=strategy,
        ends=has_all_traffic,
        deployment=deployment,
        replicas=replicas_of(strategy),
    )


STORIES = {
    "RollingUpdate": _story("RollingUpdate"),
    "Canary": _story("Canary", canary={"steps": [{"weight": 50, "duration": "20s"}]}),
    "BlueGreen": _story("BlueGreen", blueGreen={"previewDuration": "20s"}),
}


class Fault:
    """The GPU of each candidate's first pod is lost while the candidate is tried."""

    def __init__(self, world: LocalWorld) -> None:
        self._world = world
        self.struck: dict[str, dict[str, Any]] = {}
        """By service: the pod that lost its GPU."""

    def __call__(self, told: Mapping[str, Told]) -> None:
        for name, one in told.items():
            if name not in self.struck and one.looks and is_tried(one.looks[-1]):
                pod = self.pods(name)[0]
                self.struck[name] = pod
                lose_gpus(self._world.folder.pods, pod["spec"]["nodeName"], gpus_of(pod))

    def pods(self, name: str) -> list[dict[str, Any]]:
        return pods_of(self._world, NAMESPACE, f"{BAD}-{name}")


def test_a_gpu_that_fails_under_the_candidate_is_not_its_fault(world: LocalWorld) -> None:
    world.up()
    fault = Fault(world)
    told = tell(world, "Canary", STORIES, meanwhile=fault)
    evictions = [one["note"] for one in listed(world, EVENT, NAMESPACE) if one["reason"] == "EvictedForGPUFault"]
    for strategy, story in STORIES.items():
        told[strategy].check()
        struck = fault.struck[story.name]
        told_of = f"{struck['metadata']['name']} does not run"
        assert any(note.startswith(told_of) and "is Unhealthy" in note for note in evictions), evictions
        serving = fault.pods(story.name)
        assert struck["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in serving}
        assert all(health == "Healthy" for pod in serving for health in gpus_of(pod).values())
