"""What is read anew before a version is taken back by itself."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from manual_clock import ManualClock

from outrider.api.labels import DEPLOYMENT
from outrider.api.meta import ObjectMeta
from outrider.controllers.deployment.confirmed import Confirmed, confirm, over
from outrider.kube.api import ApiError, Forbidden, Kind, ListResult, Unavailable
from outrider.kube.objects import NODE, POD
from outrider.local.store import Store, StoreApi

META = ObjectMeta(name="llama", namespace="default")


class Refusing(StoreApi):
    """An API server that does not let some kinds be listed."""

    refused: Collection[Kind[Any]] = ()
    why: type[ApiError] = Forbidden

    async def list(
        self, kind: Kind[Any], namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> ListResult[Any]:
        if kind in self.refused:
            raise self.why("no")
        return await super().list(kind, namespace, labels=labels, fields=fields)


async def cluster() -> Refusing:
    """Two pods of llama on two of three nodes, and one pod of somebody else."""
    api = Refusing(Store(ManualClock()))
    for number in range(3):
        await api.create(NODE, {"metadata": {"name": f"node-{number}"}})
        name = "llama" if number else "mistral"
        body = {
            "metadata": {"name": f"{name}-{number}", "namespace": "default", "labels": {DEPLOYMENT: name}},
            "spec": {"nodeName": f"node-{number}", "containers": [{"name": "server", "image": "vllm"}]},
        }
        await api.create(POD, body)
    return api


def names(found: Confirmed) -> tuple[list[str], list[str]]:
    return [one.metadata.name for one in found.pods], [one.metadata.name for one in found.nodes]


def test_its_own_pods_and_the_nodes_beneath_them_are_read() -> None:
    async def story() -> tuple[list[str], list[str]]:
        return names(await confirm(await cluster(), META, with_nodes=True))

    assert asyncio.run(story()) == (["llama-1", "llama-2"], ["node-1", "node-2"])


def test_nodes_that_may_not_be_read_hold_up_nothing() -> None:
    async def story() -> None:
        api = await cluster()
        api.refused = (NODE,)
        for with_nodes in (True, False):
            assert names(await confirm(api, META, with_nodes=with_nodes)) == (["llama-1", "llama-2"], [])

    asyncio.run(story())


@pytest.mark.parametrize("silent", [POD, NODE])
def test_what_cannot_be_confirmed_is_not_acted_upon(silent: Kind[Any]) -> None:
    async def story() -> None:
        api = await cluster()
        api.refused, api.why = (silent,), Unavailable
        with pytest.raises(Unavailable):
            await confirm(api, META, with_nodes=True)

    asyncio.run(story())


def test_what_is_read_takes_the_place_of_what_was_remembered() -> None:
    async def story() -> None:
        api = await cluster()
        everybody, nodes = (await api.list(POD)).items, (await api.list(NODE)).items
        own = [pod for pod in everybody if pod.metadata.labels[DEPLOYMENT] == "llama"]
        await api.delete(POD, "llama-1", "default", grace_seconds=0)
        await api.patch_status(NODE, "node-2", {"conditions": [{"type": "Ready", "status": "False"}]})
        found = await confirm(api, META, with_nodes=True)
        assert found.gone(own) == {own[0].metadata.uid}
        assert [node.status.conditions for node in over(found.nodes, nodes)][:2] == [(), ()]
        assert over(found.nodes, nodes)[2].status.conditions[0].status == "False"
        assert [pod.metadata.name for pod in over(found.pods, everybody)] == [pod.metadata.name for pod in everybody]

    asyncio.run(story())
