"""Reading manifests: files, folders, standard input; several documents in each."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from outrider.api.errors import TYPE_INVALID, FieldError, kind_of, required
from outrider.cli.errors import CliError, Exit, all_of
from outrider.kube.api import Kind

_SUFFIXES = (".yaml", ".yml", ".json")

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes. An API server takes 3 MiB in one request, and a file may hold many objects; a device has no end."""

STDIN = "standard input"


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


@dataclass
class Found:
    """What is in some files."""

    manifests: list[Manifest] = field(default_factory=list)
    """In the order in which they are written."""
    refused: list[CliError] = field(default_factory=list)
    """What is no manifest, each with what is wrong with it."""

    def raise_if_refused(self) -> None:
        """Tell all that is wrong at once.

        Raises:
            CliError: something was refused.
        """
        if self.refused:
            total = len(self.manifests) + len(self.refused)
            raise all_of(self.refused, f"of {total} manifests")


def read_manifests(paths: Sequence[Path | str]) -> list[Manifest]:
    """Every object in the files, in order; `-` is standard input, a folder stands for its .yaml, .yml and .json files.

    Raises:
        CliError: files cannot be read, are no YAML, or hold something that is no Kubernetes object; tells all of it.
    """
    found = find_manifests(paths)
    found.raise_if_refused()
    return found.manifests


def find_manifests(paths: Sequence[Path | str]) -> Found:
    """Every object in the files as `read_manifests` has them, beside everything that is none.

    Raises:
        CliError: there is nothing at all.
    """
    found = Found()
    for path in paths:
        _read(path, found)
    if not found.manifests and not found.refused:
        where = ", ".join(STDIN if str(path) == "-" else str(path) for path in paths)
        folder = any(Path(path).is_dir() for path in paths if str(path) != "-")
        hint = f"of a folder the files that end in {', '.join(_SUFFIXES)} are read, and none of its folders"
        raise CliError(f"no objects found in {where}", exit_code=Exit.INVALID, hints=(hint,) if folder else ())
    return found


def _read(path: Path | str, found: Found) -> None:
    if str(path) != "-" and Path(path).is_dir():
        for child in sorted(Path(path).iterdir()):
            if child.suffix in _SUFFIXES and not child.is_dir():
                _read(child, found)
        return
    source = STDIN if str(path) == "-" else str(path)
    try:
        text = read_text(path)
    except CliError as error:
        found.refused.append(error)
        return
    more = parse_manifests(text, source)
    found.manifests += more.manifests
    found.refused += more.refused


def read_text(path: Path | str) -> str:
    """The text of a file; `-` is standard input. A byte order mark is no part of it.

    Raises:
        CliError: it cannot be read, is no UTF-8, or is too large to be a manifest.
    """
    try:
        if str(path) == "-":
            if sys.stdin is None:  # the shell's `<&-`
                raise CliError("standard input is closed: name a file, or pipe a manifest in", exit_code=Exit.USAGE)
            return _decoded(sys.stdin.buffer, STDIN)
        with Path(path).open("rb") as stream:
            return _decoded(stream, str(path))
    except FileNotFoundError:
        raise CliError(f"{path}: no such file", exit_code=Exit.NOT_FOUND) from None
    except PermissionError:
        raise CliError(f"{path}: you may not read it: see its owner and mode with ls -l") from None
    except OSError as error:
        raise CliError(f"{path}: cannot be read: {error.strerror}") from error


def _decoded(stream: BinaryIO, source: str) -> str:
    content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise CliError(
            f"{source}: is larger than {LARGEST_FILE // 1024**2} MiB: split it into several files",
            exit_code=Exit.INVALID,
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CliError(
            f"{source}: line {line}: is not UTF-8 text: save it as UTF-8, or name the manifest itself",
            exit_code=Exit.INVALID,
        ) from error


def parse_manifests(text: str, source: str) -> Found:
    """The objects in a YAML or JSON text, and what else is there; a list of any kind stands for its items."""
    from outrider.cli.strict_yaml import YamlError, load_all

    found = Found()
    try:
        documents = load_all(text)
    except YamlError as error:
        found.refused.append(CliError(f"{source}: not valid YAML: {error}", exit_code=Exit.INVALID))
        return found
    for number, document in enumerate(documents, start=1):
        where = source if len(documents) == 1 else f"{source} (document {number})"
        for each, place in _objects(document, where):
            problems = _problems(each)
            if problems:
                found.refused.append(_refusal(place, problems))
            else:
                found.manifests.append(Manifest(body=each, source=place))
    return found


def _objects(document: Any, where: str) -> Iterator[tuple[Any, str]]:
    """What a document stands for, each with its place: itself, or what its list holds; nothing if it is empty."""
    if document is None:
        return
    kind = document.get("kind") if isinstance(document, dict) else None
    if isinstance(kind, str) and kind.endswith("List") and isinstance(document.get("items"), list):
        for at, item in enumerate(document["items"]):
            yield from _objects({} if item is None else item, f"{where} (items[{at}])")
        return
    yield document, where


def _refusal(where: str, problems: Sequence[FieldError]) -> CliError:
    if len(problems) == 1:
        return CliError(f"{where}: {problems[0]}", exit_code=Exit.INVALID)
    lines = tuple(map(str, problems))
    return CliError(f"{where}: {len(lines)} errors", exit_code=Exit.INVALID, hints=lines)


def _problems(document: Any) -> list[FieldError]:
    """What keeps a document from being an object at all, whatever its kind."""
    if not isinstance(document, dict):
        message = f"a manifest is an object with apiVersion, kind and metadata, not {kind_of(document)}"
        return [FieldError("", document, message, TYPE_INVALID)]
    problems = [
        problem
        for key, example in (("apiVersion", "inference.llm-d.io/v1alpha1"), ("kind", "LLMDeployment"))
        if (problem := _text(document, key, key, f'say which, for example "{example}"'))
    ]
    metadata = document.get("metadata", {})
    if not isinstance(metadata, dict):
        return [
            *problems,
            FieldError("metadata", metadata, f"must be an object, not {kind_of(metadata)}", TYPE_INVALID),
        ]
    named = _text(metadata, "name", "metadata.name", "give the object a name")
    problems += [named] if named else []
    if metadata.get("namespace") is not None and not isinstance(metadata["namespace"], str):
        problems.append(_no_text("metadata.namespace", metadata["namespace"]))
    for key in ("labels", "annotations"):
        problems += _texts(metadata.get(key), f"metadata.{key}")
    return problems


def _text(parent: dict[str, Any], key: str, path: str, advice: str) -> FieldError | None:
    value = parent.get(key)
    if value is None or value == "":
        return required(path, advice)
    return None if isinstance(value, str) else _no_text(path, value)


def _texts(value: Any, path: str) -> list[FieldError]:
    if value is None:
        return []
    if not isinstance(value, dict):
        return [FieldError(path, value, f"must be an object, not {kind_of(value)}", TYPE_INVALID)]
    return [_no_text(f"{path}[{key}]", item) for key, item in value.items() if not isinstance(item, str)]


def _no_text(path: str, value: Any) -> FieldError:
    advice = ": put it in quotes" if isinstance(value, bool | int | float) else ""
    return FieldError(path, value, f"must be text, not {kind_of(value)}{advice}", TYPE_INVALID)


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
            f"{manifest.source}: the manifest says namespace {written!r}, the command says {explicit!r}: "
            "change one of them",
            exit_code=Exit.USAGE,
        )
    return written or default
