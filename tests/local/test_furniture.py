"""What a world that starts again with fewer nodes does with what was on the others."""

import asyncio

from outrider.kube.clock import SystemClock
from outrider.kube.objects import NODE, POD
from outrider.local.furniture import furnish, remove_surplus_nodes
from outrider.local.settings import WorldSettings
from outrider.local.store import Store, StoreApi


def test_with_fewer_nodes_than_before_the_others_go_and_so_do_their_pods_at_once() -> None:
    async def main() -> None:
        async with Store.opened(SystemClock()) as store:
            api = StoreApi(store)
            await furnish(api)
            for number in (1, 2, 3):
                await api.create(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{number}"}})
            for name, node in {
                "stays": "node-1",
                "was-there": "node-2",
                "was-there-too": "node-3",
                "waits": "",
            }.items():
                spec = {"containers": [{"name": "main", "image": "x"}], **({"nodeName": node} if node else {})}
                metadata = {"name": name, "namespace": "production"}
                await api.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
            await remove_surplus_nodes(api, WorldSettings(nodes=1))
            assert [one.metadata.name for one in (await api.list(NODE)).items] == ["node-1"]
            assert sorted(one.metadata.name for one in (await api.list(POD)).items) == ["stays", "waits"]

    asyncio.run(main())
