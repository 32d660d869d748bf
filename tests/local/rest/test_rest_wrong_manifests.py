"""What the CLI refuses, the local world's API refuses, too: the table of tests/golden/wrong-input, past the CLI."""

import asyncio

from wrong_input import refused, table

from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig

from .conftest import TOKEN, opened


def test_the_local_door_refuses_what_the_cli_refuses_and_blames_the_same_fields() -> None:
    async def scenario() -> dict[str, tuple[str, ...]]:
        async with opened() as door, HttpApi(ClusterConfig(server=door.url, token=TOKEN)) as api:
            bodies = {sentence: row.body for sentence, row in table().items()}
            return {sentence: await refused(api, body) for sentence, body in bodies.items() if body is not None}

    found = asyncio.run(scenario())
    assert found == {sentence: row.refused_at("local") for sentence, row in table().items() if row.body is not None}
