"""One copy of a kind's objects in several namespaces, for a process that may look into those alone."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from outrider.kube.api import Api, Kind
from outrider.kube.cache import IndexFunction
from outrider.kube.clock import Clock
from outrider.kube.informer import ABSENT_KIND_RETRY, Informer
from outrider.kube.metadata import split_key

T = TypeVar("T")


class InformerGroup(Generic[T]):
    """An informer for each of some namespaces, read as if they were one; without namespaces one for all of them.

    Each namespace has a list and a watch of its own, and resumes where that one broke off: resource versions of
    streams that were mixed would say nothing about what either has missed.
    """

    def __init__(
        self,
        api: Api,
        kind: Kind[T],
        clock: Clock,
        *,
        namespaces: Sequence[str] = (),
        labels: str = "",
        fields: str = "",
        indexes: Mapping[str, IndexFunction[T]] | None = None,
        optional: bool = False,
        absent_retry: float = ABSENT_KIND_RETRY,
        rng: random.Random | None = None,
    ) -> None:
        self.kind = kind
        self._members = {
            namespace: Informer(
                api,
                kind,
                clock,
                namespace=namespace,
                labels=labels,
                fields=fields,
                indexes=indexes,
                optional=optional,
                absent_retry=absent_retry,
                rng=rng,
            )
            for namespace in (namespaces or ("",))
        }

    @property
    def members(self) -> tuple[Informer[T], ...]:
        """The informers, for a controller to watch."""
        return tuple(self._members.values())

    def get(self, key: str) -> T | None:
        """The object `namespace/name`; None also where nobody looks."""
        member = self._members.get("") or self._members.get(split_key(key)[0])
        return None if member is None else member.get(key)

    def list(self) -> tuple[T, ...]:
        return tuple(obj for member in self.members for obj in member.list())

    def by_index(self, name: str, value: str) -> tuple[T, ...]:
        """The objects that index `name` files under `value`. Raises `KeyError` for an index that there is not."""
        return tuple(obj for member in self.members for obj in member.by_index(name, value))

    def look_again(self) -> None:
        """The kind may have come to the cluster: see `Informer.look_again`."""
        for member in self.members:
            member.look_again()

    def written(self, obj: Any) -> None:
        """Take over the answer to an own write: see `Informer.written`. Each member takes what is in its namespace."""
        for member in self.members:
            member.written(obj)
