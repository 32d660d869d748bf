"""What a path means: a kind, a namespace, an object, a subresource."""

from typing import Any
from urllib.parse import unquote

import msgspec

from outrider.kube.api import Kind, NotFound
from outrider.kube.objects import NAMESPACE
from outrider.local.store import Store
from outrider.local.store.errors import USE_KUBERNETES

_OF_NAMESPACES = ("status", "finalize")
"""What may follow a namespace's name without being a kind."""


class Target(msgspec.Struct, frozen=True):
    kind: Kind[Any]
    namespace: str
    name: str
    """Empty for the collection."""
    subresource: str


def unserved(what: str) -> NotFound:
    return NotFound(f"the local world does not serve {what}; {USE_KUBERNETES}")


def parse_path(store: Store, raw_path: str) -> Target:
    """Raises `NotFound` for what is not served."""
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise unserved(raw_path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and not (len(rest) == 3 and rest[2] in _OF_NAMESPACES and not group):
        namespace, rest = rest[1], rest[2:]
    kind = _find(store, group, version, rest[0])
    if namespace and not kind.namespaced:
        raise NotFound(f"{kind.plural} are not in namespaces: leave /namespaces/{namespace} out of the path")
    if kind.namespaced and len(rest) > 1 and not namespace:
        raise NotFound(f"{kind.plural} are in namespaces: the path needs /namespaces/NAMESPACE/ before {kind.plural}")
    if len(rest) > 3 or not all(rest):
        raise unserved(raw_path)
    name, subresource = (*rest[1:], "", "")[:2]
    return Target(kind, name if kind == NAMESPACE and not namespace else namespace, name, subresource)


def _find(store: Store, group: str, version: str, plural: str) -> Kind[Any]:
    for kind in store.kinds:
        if (kind.group, kind.version, kind.plural) == (group, version, plural):
            return kind
    what = f"{plural}.{group}" if group else plural
    others = [kind.version for kind in store.kinds if (kind.group, kind.plural) == (group, plural)]
    if others:
        raise unserved(f"{what} in version {version} (it does in {', '.join(others)})")
    raise unserved(f"{what} ({version})")
