"""Events about pods, as `kubectl describe` shows them. Writing them never holds up or fails what they tell about."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import structlog

from outrider.api.meta import format_time
from outrider.kube.api import Api, ApiError
from outrider.kube.clock import Clock
from outrider.kube.objects import EVENT

CONTROLLER = "kubelet"
NOTE_LENGTH = 1024
"""The API server's limit for `note`."""
REMEMBERED = 1000
"""How many different events are told apart; then we start anew."""

log = structlog.get_logger(__name__)


class PodEvents:
    """Records events. One that repeats is written again only as its 2nd, 4th, 8th, ... time, as a series."""

    def __init__(self, api: Api, clock: Clock, node: str) -> None:
        self._api = api
        self._clock = clock
        self._node = node
        self._known: dict[tuple[str, ...], tuple[str, int]] = {}
        """Name and number of times of each event written."""
        self._tasks: set[asyncio.Task[None]] = set()

    def record(
        self, pod: Mapping[str, Any], reason: str, note: str, *, warning: bool = False, container: str = ""
    ) -> None:
        metadata = pod["metadata"]
        key = (metadata["uid"], container, reason, note)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        name, count = self._known.get(key, (f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}", 0))
        self._known[key] = (name, count + 1)
        if count and (count + 1) & count:  # neither the first time nor a power of two
            return
        body = self._body(metadata, name, reason, note, warning=warning, container=container)
        task = asyncio.create_task(self._write(body, count + 1))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self, body: dict[str, Any], count: int) -> None:
        metadata = body["metadata"]
        try:
            if count == 1:
                await self._api.create(EVENT, body)
            else:
                series = {"count": count, "lastObservedTime": format_time(self._clock.now(), micro=True)}
                await self._api.patch(EVENT, metadata["name"], {"series": series}, metadata["namespace"])
        except ApiError as error:
            log.debug("an event could not be written", reason=body["reason"], error=str(error))

    def _body(
        self, metadata: Mapping[str, Any], name: str, reason: str, note: str, *, warning: bool, container: str
    ) -> dict[str, Any]:
        regarding = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": metadata["uid"],
        }
        if container:
            regarding["fieldPath"] = f"spec.containers{{{container}}}"
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": metadata.get("namespace", "")},
            "eventTime": format_time(self._clock.now(), micro=True),
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "action": reason,
            "note": note[:NOTE_LENGTH],
            "reportingController": CONTROLLER,
            "reportingInstance": self._node,
            "regarding": regarding,
        }
