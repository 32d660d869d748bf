"""A real API server for comparisons, with no controller beside it: the store has none either."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from control_plane import RunningPlane, running_plane

CRDS = Path(__file__).resolve().parents[3] / "deploy" / "crds"


@pytest.fixture(scope="session")
def bare_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """An API server that knows our kinds and those of Gateway API."""
    with running_plane(tmp_path_factory.mktemp("parity"), "--no-controllers") as plane:
        folders = [CRDS, *plane.programs.gateway_api]
        if not plane.programs.gateway_api:
            pytest.fail(f"{plane.programs.folder} has no definitions of the Gateway API (crds/gateway-api)")
        plane.kubectl("apply", "--server-side", *(f"--filename={each}" for each in folders))
        plane.kubectl("wait", "customresourcedefinitions", "--all", "--for=condition=Established", "--timeout=60s")
        yield plane
