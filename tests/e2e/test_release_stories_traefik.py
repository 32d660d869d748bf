"""The first release stories on a real control plane, with Traefik for a gateway: for each strategy a good version, one
that answers errors, one that is slow, and one that never answers while /health says 200.
"""

from collections.abc import Mapping

import pytest
from front_doors import traefik_gateway
from release_stories import NODES, Story, Told, has_all_traffic, tell
from release_story_table import first_stories
from story_world import LocalWorld, ended

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=3), pytest.mark.kubernetes]

STORIES: dict[str, Story] = {
    f"{strategy}: {sentence}": story
    for strategy in ("RollingUpdate", "Canary", "BlueGreen")
    for sentence, story in first_stories(strategy).items()
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Told]:
    world = LocalWorld(tmp_path_factory.mktemp("traefik") / "home", "kubernetes")
    with ended(world), traefik_gateway(world, "--nodes", str(NODES)) as door:
        return tell(world, "", STORIES, gateway_url=door.url)


@pytest.mark.parametrize("sentence", STORIES)
def test_through_traefik(told: Mapping[str, Told], sentence: str) -> None:
    told[sentence].check()


def test_each_strategy_has_its_good_version() -> None:
    assert sum(story.ends is has_all_traffic for story in STORIES.values()) == 3
