"""The kinds that a new control plane does not know by itself: Outrider's own, and the Gateway API's."""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from outrider.api.crd import KINDS, crd
from outrider.api.meta import Condition, ObjectMeta
from outrider.kube.api import Api
from outrider.kube.clock import Clock
from outrider.kube.installed import CUSTOM_RESOURCE_DEFINITION

FIELD_OWNER = "outrider-world"
CONTENT_HASH = "inference.llm-d.io/content-hash"
"""By which the next start knows that a definition was applied just so: applying all of them takes a second."""
POLL_SECONDS = 0.05


class _Status(msgspec.Struct, frozen=True):
    conditions: tuple[Condition, ...] | None = None  # null until they are first written


class Definition(msgspec.Struct, frozen=True):
    """A CustomResourceDefinition, as far as it matters whether it is in force."""

    metadata: ObjectMeta = ObjectMeta()
    status: _Status = _Status()

    @property
    def established(self) -> bool:
        return any(each.type == "Established" and each.status == "True" for each in self.status.conditions or ())


DEFINITION = CUSTOM_RESOURCE_DEFINITION.into(Definition)


def own_definitions() -> Iterator[dict[str, Any]]:
    """Those of Outrider's kinds."""
    for known in KINDS:
        yield crd(known.kind)


def definitions_in(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The CustomResourceDefinitions in YAML files; other objects in them are left out."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for file in files:
        for document in yaml.load_all(file.read_bytes(), Loader=loader):
            if document and document.get("kind") == DEFINITION.kind:
                document.pop("status", None)
                yield document


async def define(api: Api, clock: Clock, bodies: Iterable[Mapping[str, Any]]) -> None:
    """Apply the definitions that are new or have changed, and wait until all are in force.

    Raises:
        ApiError: the server refuses one.
    """
    wanted = [_signed(body) for body in bodies]
    known = {each.metadata.name: each for each in (await api.list(DEFINITION)).items}
    async with asyncio.TaskGroup() as group:
        for body in wanted:
            found = known.get(body["metadata"]["name"])
            if found is None or found.metadata.annotations.get(CONTENT_HASH) != _hash_in(body):
                group.create_task(api.apply(DEFINITION.into(dict), body, owner=FIELD_OWNER))
    names = {body["metadata"]["name"] for body in wanted}
    while True:
        found_now = (await api.list(DEFINITION)).items
        if names <= {each.metadata.name for each in found_now if each.established}:
            return
        await clock.sleep(POLL_SECONDS)


def _signed(body: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(body, sort_keys=True, default=str)
    metadata = dict(body["metadata"])
    signature = {CONTENT_HASH: hashlib.sha256(text.encode()).hexdigest()[:16]}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **signature}
    return {**body, "metadata": metadata}


def _hash_in(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["annotations"][CONTENT_HASH])
