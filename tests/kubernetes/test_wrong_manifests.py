"""What the CLI refuses, our CRDs refuse, too, on a real API server: the table of tests/golden/wrong-input."""

import asyncio

import pytest
from control_plane import RunningPlane
from wrong_input import refused, table

from outrider.cli.main import run
from outrider.kube.http import HttpApi

pytestmark = pytest.mark.xdist_group("cluster-scoped")


def test_an_api_server_refuses_what_the_cli_refuses_and_blames_the_same_fields(cluster_scoped: RunningPlane) -> None:
    assert run(["install", "--crds-only", "--force-conflicts", "--kubeconfig", str(cluster_scoped.kubeconfig)]) == 0

    async def scenario() -> dict[str, tuple[str, ...]]:
        async with HttpApi(cluster_scoped.config) as api:
            bodies = {sentence: row.body for sentence, row in table().items()}
            return {sentence: await refused(api, body) for sentence, body in bodies.items() if body is not None}

    found = asyncio.run(scenario())
    assert found == {sentence: row.refused_at("cluster") for sentence, row in table().items() if row.body is not None}
