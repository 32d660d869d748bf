"""Blue-green releases of many services at once, each with a fault of its own, under traffic and Git's hand."""

from collections.abc import Iterator, Mapping

import pytest
from release_stories import Told, told_in_one_world
from release_story_table import stories

STORIES = stories("BlueGreen")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long(minutes=2),
    pytest.mark.only("local", reason="dozens of simulated servers at once; test_release_by_steps is told on both"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Told]]:
    with told_in_one_world(tmp_path_factory.mktemp("world"), "BlueGreen", STORIES) as found:
        yield found


@pytest.mark.parametrize("sentence", STORIES)
def test_in_a_blue_green_release(told: Mapping[str, Told], sentence: str) -> None:
    told[sentence].check()
