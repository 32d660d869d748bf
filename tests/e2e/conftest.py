"""Every story is told on two worlds: the local one, and the same one on a real Kubernetes control plane."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from story_world import BASES, LocalWorld, ended


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `base` its values: both, unless the marker `only` says that the story makes sense on one."""
    if "base" not in metafunc.fixturenames:
        return
    only = metafunc.definition.get_closest_marker("only")
    wanted = only.args if only is not None else BASES
    marks = {"kubernetes": [pytest.mark.kubernetes]}
    metafunc.parametrize("base", [pytest.param(base, marks=marks.get(base, ()), id=base) for base in wanted])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def world(base: str, home: Path) -> Iterator[LocalWorld]:
    """A world that is not up yet; whatever is left of it at the end of the test fails the test."""
    world = LocalWorld(home, base)
    with ended(world):
        yield world


@pytest.fixture
def fresh(world: LocalWorld) -> LocalWorld:
    """A world of the story's own, that is up: for stories that harm it."""
    world.up()
    return world


@pytest.fixture(scope="session")
def shared_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], LocalWorld]]:
    """A world on Kubernetes for all stories that leave it whole, started when the first one asks for it."""
    world = LocalWorld(tmp_path_factory.mktemp("shared") / "home", "kubernetes")

    def up() -> LocalWorld:
        if not world.folder.running:
            world.up()
        return world

    with ended(world):
        yield up


@pytest.fixture
def running(base: str, request: pytest.FixtureRequest) -> Iterator[LocalWorld]:
    """A world that is up and empty."""
    if base != "kubernetes":
        yield request.getfixturevalue("fresh")
        return
    # Its start costs some five seconds of both processors; emptying it costs about as long, but no work.
    world: LocalWorld = request.getfixturevalue("shared_kubernetes")()
    yield world
    world.empty()
