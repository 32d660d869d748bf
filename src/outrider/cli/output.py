"""How results are printed: tables for people, JSON and YAML for programs, names for pipes."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TextIO

OutputFormat = Literal["table", "wide", "json", "yaml", "name"]
TableOrData = Literal["table", "json", "yaml"]
WideOrData = Literal["table", "wide", "json", "yaml"]
NameOrData = Literal["table", "name", "json", "yaml"]
PlanOutput = Literal["table", "json", "yaml", "plan"]
"""What `--output` of a command offers: only what it does."""

_GAP = "   "


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Left-aligned columns as kubectl prints them: no borders, so that awk and grep work. Cells are never empty."""
    table = [list(headers), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(headers))]
    for row in table:
        print(_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    """Indented JSON. Keys keep their order."""
    print(json.dumps(value, indent=2, ensure_ascii=not _unicode()))


def print_yaml(value: Any) -> None:
    """YAML of one document, as people write manifests."""
    import yaml

    yaml.safe_dump(value, sys.stdout, sort_keys=False, allow_unicode=_unicode(), width=120)


def print_documents(values: Iterable[Any], file: TextIO | None = None) -> None:
    """YAML of several documents, as `kubectl --filename -` takes them, to standard output or into a file."""
    import yaml

    yaml.safe_dump_all(
        values, file or sys.stdout, sort_keys=False, allow_unicode=_unicode(), width=120, explicit_start=True
    )


def _unicode() -> bool:
    """Whether standard output takes every character; elsewhere JSON and YAML have escapes of their own."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"


def print_structured(value: Any, output: OutputFormat) -> None:
    """JSON or YAML, as asked."""
    (print_json if output == "json" else print_yaml)(value)


def without_managed_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    """The object less `metadata.managedFields`, which no person reads."""
    metadata = {key: value for key, value in item.get("metadata", {}).items() if key != "managedFields"}
    return {**item, "metadata": metadata}


def human_age(seconds: float | None) -> str:
    """A duration as kubectl's AGE column shows it: 45s, 12m, 3h5m, 2d4h, 41d."""
    if seconds is None:
        return "<unknown>"
    total = max(0, int(seconds))
    minutes, second = divmod(total, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour}h" if hour and days < 8 else f"{days}d"
    if hours:
        return f"{hours}h{minute}m" if minute and hours < 8 else f"{hours}h"
    if minutes:
        return f"{minutes}m{second}s" if second and minutes < 10 else f"{minutes}m"
    return f"{total}s"
