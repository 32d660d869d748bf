"""The list of known differences: reviewed lines, each with the reason why it is so."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import yaml
from parity.compare import Difference

_LINE = re.compile(
    r"(?P<kind>\S+) (?P<path>.+?): (?P<local>.*?) -> (?P<real>.*?)( @ (?P<steps>[0-9 ]+)of (?P<case>.*))?", re.DOTALL
)


class Line(msgspec.Struct, frozen=True):
    """What may differ. Kind, path and values are patterns: `*` stands for anything."""

    text: str
    kind: str
    path: str
    local: str
    real: str
    case: str = ""
    """The sentence of the only case in which it may be so; empty for all."""
    step: int = -1
    """The only step of that case."""

    def allows(self, difference: Difference) -> bool:
        return (
            self.case in ("", difference.case)
            and self.step in (-1, difference.step)
            and all(
                fnmatchcase(getattr(difference, name), getattr(self, name))
                for name in ("kind", "path", "local", "real")
            )
        )


class Known(msgspec.Struct, frozen=True):
    """Lines that have one reason."""

    reason: str
    lines: tuple[Line, ...]


def read_known(path: Path) -> tuple[Known, ...]:
    """Raises ValueError for a line that is none, or a reason that says nothing."""
    found = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        reason = str(entry["reason"])
        if len(reason.split()) < 4:
            raise ValueError(f"a reason is a sentence, not {reason!r}")
        found.append(Known(reason, tuple(line for text in entry["lines"] for line in _parsed(text))))
    return tuple(found)


def _parsed(text: str) -> list[Line]:
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not `KIND PATH: LOCAL -> REAL` or `... @ STEPS of CASE`")
    parts = match.groupdict()
    line = Line(text, parts["kind"], parts["path"], parts["local"], parts["real"])
    if parts["case"] is None:
        return [line]
    return [
        msgspec.structs.replace(line, case=parts["case"], step=int(step)) for step in parts["steps"].split()
    ]  # fmt: skip


def review(found: list[Difference], known: tuple[Known, ...]) -> tuple[list[Difference], list[Line]]:
    """The differences that no line allows, and the lines that no difference needs any more."""
    lines = [line for entry in known for line in entry.lines]
    used: set[Line] = set()
    new = []
    for difference in found:
        allowing = {line for line in lines if line.allows(difference)}
        used |= allowing
        if not allowing:
            new.append(difference)
    return new, [line for line in lines if line not in used]
