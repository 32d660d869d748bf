"""Reading manifests: files, folders, standard input; several documents in each."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outrider.cli.errors import CliError, Exit

_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Manifest:
    """One object as somebody wrote it, and where."""

    body: dict[str, Any]
    source: str

    @property
    def api_version(self) -> str:
        return str(self.body.get("apiVersion", ""))

    @property
    def kind(self) -> str:
        return str(self.body.get("kind", ""))

    @property
    def name(self) -> str:
        return str(self.body.get("metadata", {}).get("name", ""))


def read_manifests(paths: Sequence[Path | str]) -> list[Manifest]:
    """Every object in the files, in order; `-` is standard input, a folder stands for its .yaml, .yml and .json files.

    Raises:
        CliError: a file cannot be read, is no YAML, or holds something that is no Kubernetes object.
    """
    manifests = [manifest for path in paths for manifest in _read(path)]
    if not manifests:
        raise CliError(f"no objects found in {', '.join(str(path) for path in paths)}", exit_code=Exit.INVALID)
    return manifests


def _read(path: Path | str) -> Iterator[Manifest]:
    if str(path) == "-":
        yield from parse_manifests(sys.stdin.read(), "standard input")
        return
    file = Path(path)
    if file.is_dir():
        for child in sorted(file.iterdir()):
            if child.suffix in _SUFFIXES:
                yield from _read(child)
        return
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CliError(f"{file}: no such file", exit_code=Exit.NOT_FOUND) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file}: cannot be read: {error}", exit_code=Exit.INVALID) from error
    yield from parse_manifests(text, str(file))


def parse_manifests(text: str, source: str) -> Iterator[Manifest]:
    """The objects in a YAML or JSON text; a `List` stands for its items."""
    import yaml

    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise CliError(f"{source}: not valid YAML: {error}", exit_code=Exit.INVALID) from error
    for number, document in enumerate(documents, start=1):
        where = source if len(documents) == 1 else f"{source} (document {number})"
        if document is None:
            continue
        yield from _objects(document, where)


def _objects(document: Any, where: str) -> Iterator[Manifest]:
    if not isinstance(document, dict):
        raise CliError(
            f"{where}: a manifest is a mapping with apiVersion, kind and metadata, not a {type(document).__name__}",
            exit_code=Exit.INVALID,
        )
    if document.get("kind") == "List" and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item, where)
        return
    missing = [key for key in ("apiVersion", "kind") if not isinstance(document.get(key), str) or not document[key]]
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        missing.append("metadata.name")
    if missing:
        raise CliError(f"{where}: {', '.join(missing)}: required value is missing", exit_code=Exit.INVALID)
    yield Manifest(body=document, source=where)
