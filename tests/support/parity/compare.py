"""What differs between two servers' answers, once what must differ is taken out of them."""

import re
import time
from datetime import datetime
from itertools import zip_longest
from typing import Any

import msgspec
from parity.servers import Answer
from parity.steps import Case

ABSENT = "<absent>"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_GENERATED = re.compile(r"((?:made|refused)-_?n*)[bcdfghjklmnpqrstvwxz2456789]{5}")
"""Names that the corpus has the servers make: `generateName` is `made-...` or `refused-...`."""
_RECENT_SECONDS = 86_400.0


class Difference(msgspec.Struct, frozen=True, order=True):
    """One place in which the answers differ."""

    case: str
    step: int
    kind: str
    path: str
    """`code`, or into the body: `body.spec.ports.0.targetPort`."""
    local: str
    """The store's value, as JSON; `<absent>` where there is none."""
    real: str

    def __str__(self) -> str:
        return f"step {self.step} ({self.kind}) {self.path}: local {self.local}, real {self.real}"


class _Names:
    """Gives what servers make up the same names on both sides: `<uid 1 of web>` is the first uid that web shows."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], dict[str, str]] = {}

    def name(self, sort: str, of: str, value: str) -> str:
        known = self._seen.setdefault((sort, of), {})
        return known.setdefault(value, f"<{sort} {len(known) + 1} of {of}>")

    def find(self, value: str) -> str:
        """What `value` was named before; itself where it was not, as a uid that the corpus made up."""
        return next((known[value] for known in self._seen.values() if value in known), value)


def normalised(answers: list[Answer], namespace: str) -> list[Any]:
    """The answers of one server to one case, without what no two servers have in common.

    Uids and resource versions become numbers in the order in which they appear, so that it still shows whether an
    object is the same one, and whether a write made a new version of it. Times that were just now are `<time>`.
    Messages are for people, and ours are written for ours: only that there is one is compared. A null means what a
    field means that is not there.
    """
    names = _Names()
    return [
        {"code": answer.code, "body": _part(answer.body, names, "", namespace)}
        if isinstance(answer.body, dict | list)
        else {"code": answer.code, "body": bool(answer.body)}
        for answer in answers
    ]


def _part(value: Any, names: _Names, field: str, namespace: str) -> Any:
    if isinstance(value, dict):
        return _map(value, names, namespace)
    if isinstance(value, list):
        if field == "managedFields":
            return _owners(value, names, namespace)
        if field == "causes":
            value = sorted(value, key=lambda cause: (cause.get("field", ""), cause.get("reason", "")))
        return [_part(item, names, "", namespace) for item in value]
    if not isinstance(value, str):
        return value
    if field == "uid" and value:
        return names.find(value)
    if field == "message" and value:
        return "<text>"
    if _TIME.fullmatch(value) and abs(datetime.fromisoformat(value).timestamp() - time.time()) < _RECENT_SECONDS:
        return "<time>" if "." not in value else "<time with fractions>"
    return value.replace(namespace, "{ns}")


def _map(value: dict[str, Any], names: _Names, namespace: str) -> dict[str, Any]:
    name = value.get("name")
    if isinstance(name, str):
        name = value["name"] = _GENERATED.sub(r"\1<random>", name.replace(namespace, "{ns}"))
    version, uid = value.get("resourceVersion"), value.get("uid")
    made = {}
    if isinstance(version, str):
        # Of a list or a bookmark it says how far the whole server is, which no two servers have in common.
        made["resourceVersion"] = names.name("version", str(name), version) if uid else "<version>"
    if uid and name:
        made["uid"] = names.name("uid", str(name), uid)
    parts = {field: _part(part, names, field, namespace) for field, part in sorted(value.items()) if part is not None}
    return parts | made


def _owners(lines: list[dict[str, Any]], names: _Names, namespace: str) -> Any:
    """The owners of fields by who they are: in which order they are listed means nothing."""
    return {
        " ".join(filter(None, (line.get("manager"), line.get("operation"), line.get("subresource")))): _part(
            line, names, "", namespace
        )
        for line in lines
    }


def differences(sentence: str, case: Case, local: list[Any], real: list[Any]) -> list[Difference]:
    """Where the normalised answers of the two to one case differ."""
    found = []
    for number, (step, ours, theirs) in enumerate(zip(case, local, real, strict=True)):
        # Where one refuses and the other does not, there is nothing in the bodies to compare.
        whole = (
            [{"code": answer["code"]} for answer in (ours, theirs)]
            if ours["code"] != theirs["code"]
            else [ours, theirs]
        )
        for path, left, right in _walk("", *whole):
            found.append(Difference(sentence, number, step.kind, path, left, right))
    return found


def _walk(path: str, left: Any, right: Any) -> list[tuple[str, str, str]]:
    if isinstance(left, dict) and isinstance(right, dict):
        found = []
        for name in sorted(left.keys() | right.keys()):
            found += _walk(f"{path}.{name}".lstrip("."), left.get(name, ABSENT), right.get(name, ABSENT))
        return found
    if isinstance(left, list) and isinstance(right, list):
        found = []
        for number, (one, other) in enumerate(zip_longest(left, right, fillvalue=ABSENT)):
            found += _walk(f"{path}.{number}", one, other)
        return found
    if type(left) is type(right) and left == right:
        return []
    return [(path, _told(left), _told(right))]


def _told(value: Any) -> str:
    return ABSENT if value == ABSENT else msgspec.json.encode(value).decode()
