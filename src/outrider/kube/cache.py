"""What an informer knows: objects by key, with indexes, and what changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")

IndexFunction = Callable[[T], Iterable[str]]
"""The index values under which an object is found, e.g. the name of its node."""

log = structlog.get_logger(__name__)


class Cache(Generic[T]):
    """Objects by key, and by the values of each index. Iteration follows the order of arrival, so it is repeatable."""

    def __init__(self, indexes: Mapping[str, IndexFunction[T]]) -> None:
        self._functions = dict(indexes)
        self._objects: dict[str, T] = {}
        self._indexes: dict[str, dict[str, dict[str, None]]] = {name: {} for name in indexes}
        self._values: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in indexes}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[str]:
        """The keys."""
        return iter(self._objects)

    def get(self, key: str) -> T | None:
        return self._objects.get(key)

    def list(self) -> tuple[T, ...]:
        return tuple(self._objects.values())

    def by_index(self, name: str, value: str) -> tuple[T, ...]:
        """The objects whose index function gave `value`. Raises `KeyError` for an index that there is not."""
        return tuple(self._objects[key] for key in self._indexes[name].get(value, ()))

    def index_values(self, name: str) -> tuple[str, ...]:
        """All values of an index under which there is an object."""
        return tuple(self._indexes[name])

    def put(self, key: str, obj: T) -> T | None:
        """Store the object; gives what was stored before."""
        old = self._objects.get(key)
        self._objects[key] = obj
        for name, function in self._functions.items():
            self._reindex(name, key, _values(name, function, key, obj))
        return old

    def remove(self, key: str) -> T | None:
        for name in self._functions:
            self._reindex(name, key, ())
        return self._objects.pop(key, None)

    def _reindex(self, name: str, key: str, values: tuple[str, ...]) -> None:
        before = self._values[name].pop(key, ())
        index = self._indexes[name]
        for value in before:
            if value not in values:
                index[value].pop(key, None)
                if not index[value]:
                    del index[value]
        for value in values:
            index.setdefault(value, {})[key] = None
        if values:
            self._values[name][key] = values


def _values(name: str, function: IndexFunction[T], key: str, obj: T) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(function(obj)))
    except Exception:
        # A strange object must not stop the informer; it is then in no index, and the log says why.
        log.exception("index function failed", index=name, key=key)
        return ()
