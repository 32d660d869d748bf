"""Reading manifests: files, folders, standard input; several documents in each."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outrider.cli.errors import CliError, Exit
from outrider.kube.api import Kind

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
        where = ", ".join("standard input" if str(path) == "-" else str(path) for path in paths)
        raise CliError(f"no objects found in {where}", exit_code=Exit.INVALID)
    return manifests


def _read(path: Path | str) -> Iterator[Manifest]:
    if str(path) == "-":
        yield from parse_manifests(_decoded(sys.stdin.buffer.read(), "standard input"), "standard input")
        return
    file = Path(path)
    if file.is_dir():
        for child in sorted(file.iterdir()):
            if child.suffix in _SUFFIXES:
                yield from _read(child)
        return
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise CliError(f"{file}: no such file", exit_code=Exit.NOT_FOUND) from None
    except OSError as error:
        raise CliError(f"{file}: cannot be read: {error.strerror}") from error
    yield from parse_manifests(_decoded(content, str(file)), str(file))


def _decoded(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CliError(f"{source}: is not UTF-8 text: {error.reason}", exit_code=Exit.INVALID) from error


def parse_manifests(text: str, source: str) -> Iterator[Manifest]:
    """The objects in a YAML or JSON text; a `List` stands for its items.

    Raises:
        CliError: it is no YAML, says a key twice, or holds something that JSON cannot say.
    """
    import yaml

    from outrider.cli.strict_yaml import load_all

    try:
        documents = load_all(text)
    except yaml.YAMLError as error:
        told = str(error).replace('in "<unicode string>", ', "")
        raise CliError(f"{source}: not valid YAML: {told}", exit_code=Exit.INVALID) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise CliError(f"{source}: holds something that JSON cannot say: {error}", exit_code=Exit.INVALID) from error
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
    elif not isinstance(metadata.get("namespace") or "", str):
        raise CliError(
            f"{where}: metadata.namespace: Invalid value: {metadata['namespace']!r}: must be text: put it in quotes",
            exit_code=Exit.INVALID,
        )
    if missing:
        raise CliError(f"{where}: {', '.join(missing)}: required value is missing", exit_code=Exit.INVALID)
    yield Manifest(body=document, source=where)


def namespace_of(manifest: Manifest, kind: Kind[Any], default: str, explicit: str | None) -> str:
    """The namespace that the manifest means: its own, else that of the command; empty for cluster-scoped kinds.

    Raises:
        CliError: the manifest and `--namespace` say different things.
    """
    if not kind.namespaced:
        return ""
    written = str(manifest.body["metadata"].get("namespace") or "")
    if written and explicit and written != explicit:
        raise CliError(
            f"{manifest.source}: the manifest says namespace {written!r}, the command says {explicit!r}",
            exit_code=Exit.USAGE,
        )
    return written or default
