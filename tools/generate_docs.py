"""Write docs/guide/fields.md from the CRD's own schema, so that the reference cannot drift from the code."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from outrider.api.capabilities import CONDITIONAL, covering_line, reason
from outrider.api.crd import object_schema

TARGET = Path(__file__).resolve().parents[1] / "docs" / "guide" / "fields.md"
HEADER = """\
# Fields of an LLMDeployment

Generated from the schema of the CRD by `make generate`.
*Not acted on yet* means: taken, kept, and reported in `status.ignoredFields`.

"""


def _type(schema: dict[str, Any]) -> str:
    if schema.get("enum"):
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "number or text"
    return str(schema.get("type", "text or object"))


def _rows(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        children = field.get("properties") or field.get("items", {}).get("properties")
        described = " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
        line = covering_line(where)
        note = f" *Not acted on yet: {reason(where)}.*" if line == where else ""
        if where in CONDITIONAL:
            note = f" *Has an effect {CONDITIONAL[where]}; elsewhere it is reported.*"
        if described or note or (line is None and not children):
            yield f"| `{where}` | {_type(field)} | {(described + note).strip() or '-'} |"
        if field.get("properties"):
            yield from _rows(field, where)
        elif children:
            yield from _rows(field["items"], f"{where}[]")


def render() -> str:
    """The whole page."""
    schema = object_schema("LLMDeployment", describe=True)
    parts = [HEADER]
    for part in ("spec", "status"):
        rows = "\n".join(_rows(schema["properties"][part], part))
        parts.append(f"## {part}\n\n| field | type | meaning |\n|---|---|---|\n{rows}\n\n")
    return "".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET.name}\n")
