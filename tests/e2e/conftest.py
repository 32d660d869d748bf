"""A local world of its own for every story."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from story_world import LocalWorld, wait_for


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def world(home: Path) -> Iterator[LocalWorld]:
    """A world that is not up yet; whatever is left of it at the end of the test fails the test."""
    home.mkdir()
    world = LocalWorld(home)
    yield world
    world.outrider("down", "--timeout", "90s", code=None)
    wait_for(lambda: not world.processes(), f"no process left, but there are {world.processes()}", deadline=20)


@pytest.fixture
def running(world: LocalWorld) -> LocalWorld:
    world.up()
    return world
