"""A store in memory under a clock that stands still until it is moved."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from outrider.kube.api import Object
from outrider.local.store import Store, StoreApi

T = TypeVar("T")
NOON = 1_795_435_200.0
"""2026-11-23T12:00:00Z"""


class StandingClock:
    """Time passes only by `advance`."""

    def __init__(self) -> None:
        self.time = NOON
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time - NOON

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, woken))
        await woken

    def advance(self, seconds: float) -> None:
        self.time += seconds
        due = [woken for when, woken in self._sleepers if when <= self.time]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self.time]
        for woken in due:
            if not woken.done():
                woken.set_result(None)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def store(clock: StandingClock) -> Store:
    return Store(clock, rng=random.Random(1))


@pytest.fixture
def api(store: Store) -> StoreApi:
    return StoreApi(store, user="tester")


@pytest.fixture
def done() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs one call on the store to its end."""
    return asyncio.run


@pytest.fixture
def deployment() -> Callable[..., Object]:
    """A valid Deployment; keyword arguments go into its spec."""

    def make(name: str = "web", **spec: Any) -> Object:
        labels = {"app": "web"}
        containers = [{"name": "server", "image": "server:1", "env": [{"name": "A", "value": "1"}]}]
        template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template, **spec},
        }

    return make


@pytest.fixture
def pod() -> Callable[..., Object]:
    """A valid Pod; keyword arguments go into its spec."""

    def make(name: str = "p", **spec: Any) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "server", "image": "server:1"}], **spec},
        }

    return make


@pytest.fixture
def config_map() -> Callable[..., Object]:
    """A ConfigMap with the keyword arguments as its data."""

    def make(name: str = "c", **data: str) -> Object:
        metadata = {"name": name, "namespace": "default"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    return make
