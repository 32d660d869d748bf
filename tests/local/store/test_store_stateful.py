"""The store against a model that is too simple to be wrong, and every watch against both.

Whatever is done, whoever lists at some moment and follows a watch from there ends up with the present state. That is
the promise on which every informer rests.
"""

import asyncio
import random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from outrider.kube.api import AlreadyExists, Conflict, Expired, NotFound, Object
from outrider.kube.objects import CONFIG_MAP
from outrider.local.store import Store, StoreApi
from outrider.local.store.history import History
from outrider.local.store.records import decode
from outrider.local.store.selectors import select
from outrider.local.store.watching import watch

KIND = CONFIG_MAP.into(dict)
NAMES = st.sampled_from(["a", "b", "c"])
DATA = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]))
LABELS = st.sampled_from(["red", "blue"])


class SystemTime:
    """Never passes: no bookmark disturbs the replay."""

    def now(self) -> float:
        return 1_795_435_200.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


def visible(obj: Object) -> tuple[Any, ...]:
    metadata = obj["metadata"]
    return (
        metadata.get("labels", {}),
        obj.get("data", {}),
        metadata.get("finalizers", []),
        "deletionTimestamp" in metadata,
    )


class StoreMachine(RuleBasedStateMachine):
    starts = Bundle("starts")

    @initialize()
    def begin(self) -> None:
        self.store = Store(SystemTime(), rng=random.Random(1), changes_kept=1000)
        self.api = StoreApi(self.store)
        self.model: dict[str, tuple[Any, ...]] = {}
        self.versions: set[str] = set()

    def do(self, call: Any) -> Any:
        return asyncio.run(call)

    @rule(name=NAMES, data=DATA, color=LABELS)
    def create(self, name: str, data: dict[str, str], color: str) -> None:
        body = {"metadata": {"name": name, "namespace": "default", "labels": {"color": color}}, "data": data}
        try:
            self.do(self.api.create(KIND, body))
        except AlreadyExists:
            assert name in self.model
        else:
            assert name not in self.model
            self.model[name] = ({"color": color}, data, [], False)

    @rule(name=NAMES, data=DATA, owner=st.sampled_from(["o1", "o2"]))
    def patch(self, name: str, data: dict[str, str], owner: str) -> None:
        self._change(name, {"data": data}, lambda before: (before[0], {**before[1], **data}, *before[2:]), owner)

    @rule(name=NAMES, color=LABELS)
    def paint(self, name: str, color: str) -> None:
        self._change(name, {"metadata": {"labels": {"color": color}}}, lambda before: ({"color": color}, *before[1:]))

    def _change(self, name: str, patch: Object, expected: Any, owner: str = "") -> None:
        version = self.store.version
        try:
            self.do(self.api.patch(KIND, name, patch, "default", owner=owner))
        except NotFound:
            assert name not in self.model
            return
        after = expected(self.model[name])
        assert (self.store.version == version) == (after == self.model[name]), (
            "a write is a change, and a change a write"
        )
        self.model[name] = after

    @rule(name=NAMES)
    def hold(self, name: str) -> None:
        if name in self.model and not self.model[name][3]:
            finalizers = {"metadata": {"finalizers": ["x/y"]}}
            self._change(name, finalizers, lambda before: (*before[:2], ["x/y"], before[3]))

    @rule(name=NAMES)
    def let_go(self, name: str) -> None:
        if name in self.model:
            self.do(self.api.patch(KIND, name, {"metadata": {"finalizers": None}}, "default"))
            before = self.model.pop(name)
            if not before[3]:
                self.model[name] = (*before[:2], [], False)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        try:
            self.do(self.api.delete(KIND, name, "default"))
        except NotFound:
            assert name not in self.model
            return
        before = self.model.pop(name)
        if before[2]:
            self.model[name] = (*before[:3], True)

    @rule(name=NAMES, data=DATA)
    def write_late(self, name: str, data: dict[str, str]) -> None:
        """A write on condition of a version that is not the object's is a conflict, whatever it says."""
        if name in self.model:
            late = {"metadata": {"resourceVersion": "1"}, "data": data}
            try:
                self.do(self.api.patch(KIND, name, late, "default"))
            except Conflict:
                return
            raise AssertionError("a late write was taken")

    @rule(target=starts, labels=st.sampled_from(["", "color=red", "color!=red"]))
    def list_somewhen(self, labels: str) -> tuple[str, dict[str, Object], str]:
        listed = self.do(self.api.list(KIND, labels=labels))
        return labels, {item["metadata"]["name"]: item for item in listed.items}, listed.resource_version

    @rule(start=starts)
    def follow(self, start: tuple[str, dict[str, Object], str]) -> None:
        self._replay(*start)

    @rule(start=consumes(starts))
    def forget_and_follow(self, start: tuple[str, dict[str, Object], str]) -> None:
        history: History = self.store.table(KIND).history
        history.compact(self.store.version - 3)
        labels, items, version = start
        if int(version) >= history.floor:
            self._replay(labels, items, version)
            return
        try:
            self._replay(labels, items, version)
        except Expired:
            return
        raise AssertionError("a watch began before what is known")

    def _replay(self, labels: str, items: dict[str, Object], version: str) -> None:
        state = dict(items)
        last = int(version)
        for kind, obj, at in self.do(self._events(labels, version)):
            name = obj["metadata"]["name"]
            assert at > last, "versions grow"
            assert obj["metadata"]["resourceVersion"] == str(at)
            last = at
            assert (name in state) == (kind != "ADDED"), "nothing is added twice, or changed before it is there"
            if kind == "DELETED":
                del state[name]
            else:
                state[name] = obj
        present = self.do(self.api.list(KIND, labels=labels)).items
        assert state == {item["metadata"]["name"]: item for item in present}

    async def _events(self, labels: str, version: str) -> list[tuple[str, Object, int]]:
        notices = watch(self.store, KIND, select(KIND, "", labels, ""), resource_version=version)
        found: list[tuple[str, Object, int]] = []
        try:
            while True:
                notice = await asyncio.wait_for(anext(notices), 0.002)
                found.append((notice.type, decode(notice.data), notice.version))
        except TimeoutError:
            return found
        finally:
            await notices.aclose()

    @invariant()
    def the_store_is_what_the_model_is(self) -> None:
        if not hasattr(self, "store"):
            return
        listed = self.do(self.api.list(KIND))
        assert {item["metadata"]["name"]: visible(item) for item in listed.items} == self.model
        for item in listed.items:
            assert self.do(self.api.get(KIND, item["metadata"]["name"], "default")) == item


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
