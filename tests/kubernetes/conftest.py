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
def _cluster_scoped_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    with running_plane(tmp_path_factory.mktemp("cluster-scoped")) as plane:
        yield plane


@pytest.fixture
def cluster_scoped(_cluster_scoped_plane: RunningPlane) -> Iterator[RunningPlane]:
    """A control plane for tests that change CRDs and cluster roles: all are of the xdist group `cluster-scoped`.

    No service is left in it after a test: its pods would take the GPUs of the next test's node.
    """
    plane = _cluster_scoped_plane
    yield plane
    kinds = plane.kubectl("api-resources", "--api-group=inference.llm-d.io", "-o", "name").stdout.split()
    if kinds:
        plane.kubectl("delete", ",".join(kinds), "--all", "--all-namespaces", "--timeout=60s")
