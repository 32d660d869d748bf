"""Everything in here needs a real control plane."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from control_plane import RunningPlane, running_plane


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kubernetes)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """One control plane for all tests of a session: each test uses namespaces of its own."""
    with running_plane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def cluster_scoped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """A control plane for tests that change CRDs and cluster roles: all are of the xdist group `cluster-scoped`."""
    with running_plane(tmp_path_factory.mktemp("cluster-scoped")) as plane:
        yield plane
