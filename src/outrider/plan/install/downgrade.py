"""What would be lost if the CustomResourceDefinitions of this version took the place of those that are installed."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Definition = Mapping[str, Any]
"""A CustomResourceDefinition."""


class Loss(NamedTuple):
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def losses(installed: Definition, wanted: Definition) -> list[Loss]:
    """The fields and versions that the installed definition has and the wanted one has not.

    A field that a schema does not know is pruned from every object that is written, or, where unknown fields are kept,
    means nothing any more: both are losses.
    """
    kind = str(installed["spec"]["names"]["kind"])
    ours = {version["name"]: version for version in wanted["spec"]["versions"]}
    found = []
    stored = set((installed.get("status") or {}).get("storedVersions") or ())
    for version in installed["spec"]["versions"]:
        name = version["name"]
        if name in ours:
            before, after = _schema(version), _schema(ours[name])
            found += [Loss(kind, f"{name} field {path}") for path in _missing(before, after, "")]
            if version.get("served") and not ours[name].get("served"):
                found.append(Loss(kind, f"version {name} would no longer be served"))
        elif name not in stored:
            found.append(Loss(kind, f"version {name} would no longer be served"))
    found += [
        Loss(kind, f"version {name}: objects are stored in it, and could no longer be read")
        for name in sorted(stored - set(ours))
    ]
    return found


def _schema(version: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return schema


def _missing(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[str]:
    """The paths that the first schema declares and the second does not; below one that is missing nothing is listed."""
    ours = after.get("properties") or {}
    anything = isinstance(after.get("additionalProperties"), Mapping | bool) and after.get("additionalProperties")
    for name, part in (before.get("properties") or {}).items():
        where = f"{path}.{name}" if path else name
        if name in ours:
            yield from _missing(part, ours[name], where)
        elif not anything:
            yield where
    for word, mark in (("items", "[]"), ("additionalProperties", ".*")):
        old, new = before.get(word), after.get(word)
        if isinstance(old, Mapping):
            yield from _missing(old, new if isinstance(new, Mapping) else {}, f"{path}{mark}")
