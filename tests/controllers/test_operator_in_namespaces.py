"""An operator that may look into some namespaces, and at nothing else of the cluster."""

from typing import Any

from operator_world import OperatorWorld, until
from virtual_kube import LoopClock, run_virtually, running

from outrider.controllers.operator import Operator, OperatorConfig
from outrider.kube.api import Forbidden
from outrider.kube.informers import InformerGroup
from outrider.kube.objects import CONFIG_MAP, NAMESPACE, ConfigMap
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.store import Store, StoreApi
from outrider.sim.world import NAMESPACE_NAME

WATCHED = (NAMESPACE_NAME, "staging")


class NamespacesOnly:
    """Refuses every request that is not about one of the watched namespaces, as RBAC would."""

    def __init__(self, api: StoreApi) -> None:
        self._api = api
        self.refused: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._api, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._check(name, arguments, options)
            return method(*arguments, **options)

        return call

    def _check(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        if name == "served":
            return  # every account may ask which kinds there are
        if name in ("list", "watch"):
            namespace = arguments[1] if len(arguments) > 1 else options.get("namespace", "")
        elif name in ("create", "apply"):
            namespace = arguments[1]["metadata"].get("namespace", "")
        else:
            namespace = arguments[3] if name in ("patch", "patch_status") else arguments[2]
        if namespace not in WATCHED:
            self.refused.append(f"{name} {arguments[0]} in {namespace!r}")
            raise Forbidden(f"{name} is forbidden")


async def _story() -> None:
    async with OperatorWorld(nodes=1, gpus=5) as world:
        for name in ("staging", "elsewhere"):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await world.api.create(NAMESPACE.into(dict), body)
        api = NamespacesOnly(StoreApi(world.store, user="outrider"))
        config = OperatorConfig(namespaces=WATCHED, probe_interval=10.0, drain_seconds=1)
        async with running(Operator(api, world.clock, config, probe=world._probe, fetch=world._fetch).run()):
            for namespace in (*WATCHED, "elsewhere"):
                await world.install(namespace=namespace)
            await until(lambda: all(_condition(world, each, "Ready").get("status") == "True" for each in WATCHED))
            # A third replica has no GPU left, and nobody may look at the nodes to say so.
            await world.respec({"replicas": 4})
            await until(lambda: _condition(world, NAMESPACE_NAME, "CapacityAvailable").get("status") == "Unknown")
        assert _condition(world, NAMESPACE_NAME, "CapacityAvailable")["message"] == "The nodes cannot be read."
        assert _condition(world, "elsewhere", "Ready") == {}, "it is nobody's business"
        assert api.refused == []


def _condition(world: OperatorWorld, namespace: str, kind: str) -> dict[str, Any]:
    record = world.store.table(LLM_DEPLOYMENT).get(namespace, "llama")
    assert record is not None
    conditions = (record.object().get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), {})


def test_it_serves_its_namespaces_and_asks_for_nothing_else() -> None:
    run_virtually(_story)


def test_a_group_is_read_as_one_and_knows_nothing_of_other_namespaces() -> None:
    async def story() -> None:
        clock = LoopClock()
        store = Store(clock)
        api = StoreApi(store, user="somebody")
        for namespace in ("a", "b", "c"):
            await api.create(NAMESPACE.into(dict), {"metadata": {"name": namespace}})
            await api.create(CONFIG_MAP.into(dict), {"metadata": {"name": "x", "namespace": namespace}})
        group = InformerGroup(api, CONFIG_MAP, clock, namespaces=("a", "b"), indexes={"name": _by_name})
        async with running(*(member.run() for member in group.members)):
            await until(lambda: len(group.list()) == 2)
            assert [one.metadata.namespace for one in group.by_index("name", "x")] == ["a", "b"]
            found = group.get("b/x")
            assert found is not None
            assert (found.metadata.namespace, group.get("c/x"), group.get("b/y")) == ("b", None, None)
            group.written(await api.create(CONFIG_MAP, {"metadata": {"name": "y", "namespace": "b"}}))
            assert group.get("b/y") is not None, "own writes are seen at once"
        await store.close()

    run_virtually(story)


def _by_name(one: ConfigMap) -> tuple[str]:
    return (one.metadata.name,)
