"""Where the weights of a revision are, once a pod of it has loaded: gone with the pod, or on a volume that stays.

By the pod's own volumes only. What lies in a claim or in a folder of a node nobody looks at: that a pod of the revision
has loaded from there before is what is known of it.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from outrider.api.model_uri import ModelUri
from outrider.api.modelrevision import LoadStatus, ModelRevisionSpec
from outrider.api.spec import LLMDeploymentSpec
from outrider.plan.deployment.snapshot import PodView, Snapshot
from outrider.plan.deployment.volumes import ROOT_HOME, storage

HUB = "huggingface"
"""Folder of the Hugging Face hub's files below `XDG_CACHE_HOME`, by default `~/.cache` (huggingface_hub, constants)."""


class Store(msgspec.Struct, frozen=True):
    """Where the weights stay when a pod goes."""

    name: str = ""
    """`claim NAME`, or `folder PATH` of the node; empty where they do not stay, or nobody can tell."""
    of_node: bool = False
    """Whether each node has its own."""
    why_not: str = ""
    """Why there is none, as a clause."""

    def nodes(self, pods: Iterable[PodView]) -> tuple[str, ...]:
        """The nodes on which it is known to be since these pods have loaded; none where it is not a node's."""
        return tuple(sorted({pod.node for pod in pods if pod.node})) if self.of_node else ()


def store(spec: LLMDeploymentSpec, revision: ModelRevisionSpec) -> Store:
    """Where the weights of the revision are to be found by its next pod, as the spec has its volumes now."""
    try:
        uri = ModelUri.parse(revision.model_uri)
    except ValueError:  # a ModelRevision that Outrider has not written may say anything
        return Store(why_not="nobody can tell where its weights lie")
    match uri.scheme:
        case "pvc":
            claim, _, _ = uri.location.partition("/")
            return Store(f"claim {claim}")
        case "hf":
            path = _hub_folder(spec, revision)
            return _on_volume(spec, revision, path) if path else Store(why_not="nobody can tell where its cache lies")
        case "file":
            return _on_volume(spec, revision, uri.location)
        case "oci":
            return Store(why_not="what the node keeps of an image cannot be seen")
        case "s3" | "gs":
            return Store(why_not="its weights are streamed from the object store each time")
        case _:
            return Store(why_not="nobody can tell where its weights lie")


def _hub_folder(spec: LLMDeploymentSpec, revision: ModelRevisionSpec) -> str:
    """Where the engine keeps what it downloads from the hub; empty where a variable is set from elsewhere."""
    set_here: dict[str, Any] = dict(storage(spec, revision).environment)
    set_here |= {str(one.get("name")): one.get("value") for one in spec.pod.env}
    if any(set_here.get(name, "") is None for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME")):
        return ""
    if found := set_here.get("HF_HUB_CACHE"):
        return str(found)
    home = set_here.get("HOME") or ROOT_HOME
    return str(set_here.get("HF_HOME") or f"{set_here.get('XDG_CACHE_HOME') or f'{home}/.cache'}/{HUB}")


def _on_volume(spec: LLMDeploymentSpec, revision: ModelRevisionSpec, path: str) -> Store:
    stored = storage(spec, revision)
    mount = _covering(stored.mounts, path)
    volume = next((one for one in stored.volumes if mount is not None and one.get("name") == mount.get("name")), None)
    if mount is None or volume is None:
        return Store(why_not="its weights go with the pod (no volume is mounted for them)")
    if mount.get("subPathExpr"):
        return Store(why_not="each pod has a folder of its own in the volume (subPathExpr)")
    below = f" ({mount['subPath']})" if mount.get("subPath") else ""
    if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
        return Store(f"claim {claim}{below}")
    if folder := (volume.get("hostPath") or {}).get("path"):
        return Store(f"folder {folder}{below}", of_node=True)
    if "emptyDir" in volume:
        return Store(why_not="its weights go with the pod (an emptyDir holds them)")
    return Store(why_not=f"nobody can tell what volume {volume.get('name')} keeps")


def _covering(mounts: Iterable[Mapping[str, Any]], path: str) -> Mapping[str, Any] | None:
    """The mount in which the path lies: the innermost."""
    wanted = PurePosixPath(path)
    found = [one for one in mounts if wanted.is_relative_to(PurePosixPath(str(one.get("mountPath") or "/")))]
    return max(found, key=lambda one: len(PurePosixPath(str(one.get("mountPath") or "/")).parts), default=None)


def cached(snapshot: Snapshot, revision: ModelRevisionSpec, load: LoadStatus | None) -> tuple[bool, str]:
    """Whether the next pod of the revision finds its weights where one before it has loaded them; and why (not)."""
    spec = snapshot.parsed.spec
    if spec is None:
        return False, "the spec, which says where its weights lie, cannot be read"
    found = store(spec, revision)
    if not found.name:
        return False, found.why_not
    if load is None or load.store != found.name:
        return False, f"no pod of it was seen to load from {found.name}"
    if not found.of_node:
        return True, f"a pod of it has loaded from {found.name} ({load.time})"
    if snapshot.capacity is None:
        return False, "the nodes cannot be read"
    able = {node.name for node in snapshot.capacity.nodes if node.schedulable}
    without = sorted(able - set(load.nodes))
    if without or not able:
        return False, f"no pod of it has loaded from {found.name} on {', '.join(without) or 'a node that is there'}"
    return True, f"pods of it have loaded from {found.name} on every node that could take them"
