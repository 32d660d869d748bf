"""Tells the API server how a pod is, as often as there is news, however many others write to it meanwhile."""

from collections.abc import Callable
from typing import Any

from outrider.kube.api import Conflict, NotFound
from outrider.kube.metadata import is_older
from outrider.kube.objects import POD
from outrider.local.kubelet.podcontext import PodContext
from outrider.local.kubelet.status import changes

POD_JSON = POD.into(dict)
PATCH_ATTEMPTS = 5

Written = Callable[[dict[str, Any]], None]
"""Told the pod as the API server answered it to a write of ours, so that nobody goes on with an older one."""


class StatusWriter:
    """Of one pod. What it reads anew, or is answered, becomes the pod of the context."""

    def __init__(self, context: PodContext, written: Written, gone: Callable[[], None]) -> None:
        """`gone` is called where the pod turns out to be no longer there."""
        self._context = context
        self._written = written
        self._gone = gone
        self._said: dict[str, Any] | None = None
        """The status that was last written, and what version of the pod it made."""
        self._said_version = ""

    async def write(self, make: Callable[[], dict[str, Any]]) -> None:
        """Write what `make` gives if it says something new. A pod that somebody else has just changed is read anew."""
        for _ in range(PATCH_ATTEMPTS):
            pod = self._context.pod
            status = make()
            version = self._version
            if status == self._said and version == self._said_version:
                return
            patch = changes(status, pod.get("status") or {})
            if not patch:
                return
            try:
                updated = await self._context.services.api.patch_status(
                    POD_JSON, self._context.name, patch, self._context.namespace, resource_version=version
                )
            except NotFound:
                self._gone()
                return
            except Conflict:
                found = await self._read_anew()
                if found is None:
                    return
                updated = found
            else:
                self._said, self._said_version = status, updated["metadata"].get("resourceVersion", "")
            self._written(updated)
            # Where the watch overtook the answer, what it brought, such as the deletion, must not be forgotten again.
            if not is_older(updated["metadata"].get("resourceVersion", ""), self._version):
                self._context.pod = updated

    @property
    def _version(self) -> str:
        version: str = self._context.pod["metadata"].get("resourceVersion", "")
        return version

    async def _read_anew(self) -> dict[str, Any] | None:
        try:
            pod = await self._context.services.api.get(POD_JSON, self._context.name, self._context.namespace)
        except NotFound:
            self._gone()
            return None
        if pod["metadata"]["uid"] != self._context.uid:
            self._gone()
            return None
        return pod
