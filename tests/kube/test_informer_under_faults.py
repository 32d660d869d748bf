"""Random changes and faults by seed: the live copy is never wrong about the order of things, and right in the end."""

import asyncio
import random
from typing import Any

import pytest
from virtual_kube import LoopClock, MemoryApi, run_virtually, running, until

from outrider.kube.api import AlreadyExists, Unavailable
from outrider.kube.informer import Informer
from outrider.kube.objects import POD, Pod

NAMES = tuple("abcdef")


class Witness:
    """Rebuilds the copy from what handlers are told, and checks that each step follows from the one before."""

    def __init__(self, informer: Informer[Pod]) -> None:
        self.seen: dict[str, Pod] = {}
        self.problems: list[AssertionError] = []
        informer.subscribe(self.note)

    def note(self, event_type: str, old: Pod | None, new: Pod | None) -> None:
        """An informer survives what its handlers raise, so that problems are kept for later."""
        try:
            self.check(event_type, old, new)
        except AssertionError as problem:
            self.problems.append(problem)

    def check(self, event_type: str, old: Pod | None, new: Pod | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        key = pod.metadata.key
        assert self.seen.get(key) == old, "what is told as old is what was told as new"
        assert event_type == ("DELETED" if new is None else "ADDED" if old is None else "MODIFIED")
        if new is None:
            del self.seen[key]
            return
        if old is not None:
            assert old.metadata.uid == new.metadata.uid
            assert int(old.metadata.resource_version) < int(new.metadata.resource_version)
        self.seen[key] = new


async def disturb(api: MemoryApi, informer: Informer[Pod], rng: random.Random) -> None:
    """One random thing that happens to the objects, the server or the connection."""
    name = rng.choice(NAMES)
    present = ("pods", f"ns/{name}") in api._objects
    match rng.randrange(12):
        case 0 | 1 | 2 | 3:
            api.put(POD, name, status={"phase": rng.choice(["Pending", "Running", "Failed"])})
        case 4 | 5 if present:
            api.remove(POD, name)
        case 6:
            try:
                informer.written(await api.create(POD, {"metadata": {"name": name, "namespace": "ns"}}))
            except AlreadyExists:
                api.bookmark(POD)
        case 7:
            await api.break_watches(Unavailable("reset by peer"))
        case 8:
            api.compact()
            await api.break_watches(Unavailable("restarted"))
        case 9:
            api.failures = [Unavailable("down")] * rng.randrange(5)
        case 10:
            api.silent = not api.silent
        case _ if api._history:
            _, _, event_type, obj = rng.choice(api._history[-5:])
            api.repeat(POD, event_type, obj)
    await asyncio.sleep(rng.choice([0, 0.005, 0.1, 3, 90]))


@pytest.mark.parametrize("seed", range(40))
def test_the_copy_is_right_in_the_end(seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        api = MemoryApi()
        informer: Informer[Pod] = Informer(
            api, POD, LoopClock(), rng=rng, indexes={"phase": lambda pod: [pod.status.phase]}
        )
        witness = Witness(informer)
        async with running(informer.run()):
            for _ in range(60):
                await disturb(api, informer, rng)
            api.failures = []
            api.silent = False
            api.bookmark(POD)
            truth = {key: version(obj) for (_, key), obj in api._objects.items()}
            await until(lambda: {pod.metadata.key: pod.metadata.resource_version for pod in informer.list()} == truth)
            assert witness.problems == []
            assert {key: pod.metadata.resource_version for key, pod in witness.seen.items()} == truth
            indexed = [pod for phase in informer.index_values("phase") for pod in informer.by_index("phase", phase)]
            assert sorted(pod.metadata.key for pod in indexed) == sorted(truth)

    run_virtually(story)


def version(obj: dict[str, Any]) -> str:
    text: str = obj["metadata"]["resourceVersion"]
    return text
