"""Writing one condition of an object whose other conditions belong to somebody else."""

from typing import Any

from outrider.api.meta import ObjectMeta
from outrider.kube.api import Api, Conflict
from outrider.kube.informer import Informer


async def set_condition(
    api: Api, informer: Informer[Any], metadata: ObjectMeta, condition: dict[str, Any], **status: Any
) -> None:
    """Set `condition` (by its type) and the fields `status` in the object's status, and leave the rest as it is.

    Lists are replaced whole by a merge patch, so that it is built on the live object and valid only for its version.
    Raises `Conflict` when the object is another one by now, or changed at this very moment.
    """
    kind = informer.kind
    live = await api.get(kind.into(dict), metadata.name, metadata.namespace)
    if live["metadata"].get("uid") != metadata.uid:
        raise Conflict(f"{kind.kind} {metadata.key} is no longer the object that was meant")
    before = (live.get("status") or {}).get("conditions") or []
    after = [each for each in before if each.get("type") != condition["type"]]
    version = live["metadata"].get("resourceVersion", "")
    body = {"conditions": [*after, condition], **status}
    written = await api.patch_status(kind, metadata.name, body, metadata.namespace, resource_version=version)
    informer.written(written)
