"""What happened in a simulation, in order, for people."""

from dataclasses import dataclass
from typing import Any

from outrider.api import labels
from outrider.kube.api import Kind, Object
from outrider.kube.objects import EVENT, NODE, POD
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.store.history import Change
from outrider.local.store.records import decode
from outrider.sim.kubelet import ready


@dataclass(frozen=True)
class Entry:
    at: float
    """Virtual seconds from the beginning."""
    who: str
    what: str


class Timeline:
    """Keeps nothing unless it is to `tell`: putting it into words would cost as much as the simulation."""

    def __init__(self, tell: bool) -> None:
        self.entries: list[Entry] = []
        self._tell = tell

    def add(self, at: float, who: str, what: str) -> None:
        if self._tell:
            self.entries.append(Entry(at, who, what))

    def changed(self, at: float, kind: Kind[Any], change: Change, obj: Object) -> None:
        """Note a change of the store, if it is one that people would want to know of."""
        if not self._tell:
            return
        before = decode(change.old.data) if change.old is not None else None
        if kind == POD:
            self._pod(at, before, obj, removed=change.removed)
        elif kind == LLM_DEPLOYMENT:
            self._deployment(at, before, obj, removed=change.removed)
        elif kind == EVENT and before is None and "outrider" in str(obj.get("reportingController")):
            self.add(at, "event", f"{obj.get('reason')}: {obj.get('note')}")
        elif kind == NODE and before is not None and _conditions(before) != _conditions(obj):
            self.add(at, "node", f"{obj['metadata']['name']}: Ready is {_conditions(obj).get('Ready')}")

    def _pod(self, at: float, before: Object | None, obj: Object, *, removed: bool) -> None:
        meta = obj["metadata"]
        name = f"{meta['name']} ({(meta.get('labels') or {}).get(labels.MODEL_VERSION, '')})"
        if before is None:
            self.add(at, "pod", f"{name} comes")
        elif removed:
            self.add(at, "pod", f"{name} is gone")
        elif meta.get("deletionTimestamp") and not before["metadata"].get("deletionTimestamp"):
            self.add(at, "pod", f"{name} is told to end")
        elif ready(before) != ready(obj):
            self.add(at, "pod", f"{name} is {'ready' if ready(obj) else 'not ready any more'}")

    def _deployment(self, at: float, before: Object | None, obj: Object, *, removed: bool) -> None:
        name = obj["metadata"]["name"]
        if removed:
            self.add(at, "status", f"{name} is gone")
            return
        was, now = _summary(before or {}), _summary(obj)
        if was != now and now:
            self.add(at, "status", f"{name}: {now}")


def _summary(obj: Object) -> str:
    status = obj.get("status") or {}
    ready_one = next((one for one in status.get("conditions") or () if one["type"] == "Ready"), None)
    if ready_one is None:
        return ""
    return (
        f"{status.get('phase')}, Ready {ready_one['status']} ({ready_one['reason']}), "
        f"to serve {status.get('effectiveVersion') or '-'}, serves {status.get('servingVersion') or '-'}"
    )


def _conditions(obj: Object) -> dict[str, str]:
    return {one["type"]: one["status"] for one in (obj.get("status") or {}).get("conditions") or ()}
