"""A node that fails under the new version: nobody blames the version, and its pod is replaced elsewhere.

The local world has no fault of a GPU that the operator would hear of: a node that is not ready is the one it has. So
this is told once, for a canary release; of other faults of a pod's hardware `tests/plan/evidence` has the tables.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from release_stories import BAD, NAMESPACE, Story, Told, has_all_traffic, is_held, is_tried, tell
from story_world import LocalWorld
from world_api import call, configure, pods_of, say_not_ready

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long(minutes=1),
    pytest.mark.only("local", reason="a real API server would let nobody but the kubelet say so for long"),
]
APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"inference.llm-d.io/deployment": "faulty"}},
            }
        ]
    }
}
"""One node for each of the versions: what befalls the candidate's befalls nobody else."""
STORY = Story(
    name="faulty",
    ends=has_all_traffic,
    held="NodeFault",
    says="It is not the version",
    deployment={"canary": {"steps": [{"weight": 50, "duration": "20s"}]}},
    scheduling={"affinity": APART},
)


class Fault:
    """Of the node on which the candidate's first pod is tried: it is not ready, and the pod answers errors. Once the
    release is held for that, somebody drains the node.
    """

    def __init__(self, world: LocalWorld) -> None:
        self._world = world
        self.node = ""
        self.drained = False

    def __call__(self, told: Mapping[str, Told]) -> None:
        look = told[STORY.name].looks[-1]
        if not self.node and is_tried(look):
            pod = self.pod()
            self.node = pod["spec"]["nodeName"]
            configure(pod, {"error-rate": 1})
        if self.node:
            say_not_ready(self._world, self.node)
        if not self.drained and is_held("NodeFault")(look):
            name = self.pod()["metadata"]["name"]
            call(self._world, f"/api/v1/namespaces/{NAMESPACE}/pods/{name}", method="DELETE")
            self.drained = True

    def pod(self) -> dict[str, Any]:
        """The candidate's only one."""
        [found] = pods_of(self._world, NAMESPACE, f"{BAD}-{STORY.name}")
        return found


def test_a_node_that_fails_under_the_candidate_is_not_its_fault(world: LocalWorld) -> None:
    world.up("--nodes", "3")  # one for each of the versions, and one to go to
    fault = Fault(world)
    told = tell(world, "Canary", {"": STORY}, meanwhile=fault)
    told[""].check()
    assert fault.pod()["spec"]["nodeName"] != fault.node, "its pod was replaced on another node"
