"""The table of manifests that are refused: what each is, what the CLI says of it, and where the servers refuse it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from outrider.api.labels import API_VERSION
from outrider.cli.strict_yaml import YamlError, load_all
from outrider.kube.api import BadRequest, Invalid, NotFound
from outrider.kube.http import HttpApi
from outrider.kube.resources import kind_for

TABLE = Path(__file__).parents[1] / "golden" / "wrong-input" / "manifests.yaml"
COMMAND_LINES = TABLE.parent / "command-lines.yaml"
HEAD = f"apiVersion: {API_VERSION}\nkind: LLMDeployment\nmetadata: {{name: llama}}\nspec:\n"
_BLAMED = re.compile(r"(?<![\w.])((?:metadata|spec|data)[\w.\[\]/-]*): (?:Required|Invalid|Forbidden|is not an)")

Door = Literal["local", "cluster"]


class Wrong(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One row."""

    says: str
    """All that `outrider apply` prints, with FILE for the name of the file."""
    spec: str = ""
    """YAML of the spec of an LLMDeployment that is well otherwise."""
    file: str = ""
    """The whole file, where the row is not about a spec."""
    local: tuple[str, ...] | None = None
    """Where the local world refuses it, if elsewhere than the CLI does; empty: it takes it."""
    cluster: tuple[str, ...] | None = None
    """Where a cluster with our CRDs refuses it, if elsewhere than the CLI does."""
    because: str = ""
    """Why they differ."""

    @property
    def text(self) -> str:
        """The file as it is written."""
        if self.file:
            return self.file
        return HEAD + "".join(f"  {line}\n" for line in self.spec.splitlines())

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the CLI refuses it."""
        return tuple(sorted({plain_path(path) for path in _BLAMED.findall(self.says)}))

    @property
    def body(self) -> dict[str, Any] | None:
        """What a client would send; None where the text is not one object of a kind that there is."""
        try:
            documents = list(load_all(self.text))
        except YamlError:
            return None
        body = documents[0]
        if len(documents) > 1 or not isinstance(body, dict):
            return None
        known = kind_for(str(body.get("apiVersion")), str(body.get("kind")))
        metadata = body.get("metadata", {})
        if known is None or not isinstance(metadata.get("namespace", ""), str):
            return None
        return {**body, "metadata": {"namespace": "default", **metadata}}

    def refused_at(self, door: Door) -> tuple[str, ...]:
        """Where that door refuses it."""
        said = self.local if door == "local" else self.cluster
        return self.paths if said is None else said


def table() -> dict[str, Wrong]:
    return msgspec.convert(yaml.safe_load(TABLE.read_text(encoding="utf-8")), dict[str, Wrong])


def write_table(rows: Mapping[str, Wrong]) -> None:
    _write(TABLE, rows)


class WrongCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command line, its exit code, and all that it prints."""

    run: str
    exit: int
    says: str


def command_lines() -> dict[str, WrongCommand]:
    return msgspec.convert(yaml.safe_load(COMMAND_LINES.read_text(encoding="utf-8")), dict[str, WrongCommand])


def write_command_lines(rows: Mapping[str, WrongCommand]) -> None:
    _write(COMMAND_LINES, rows)


class _Readable(yaml.SafeDumper):
    """Texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Readable.add_representer(str, _text)


def _write(path: Path, rows: Mapping[str, Any]) -> None:
    parts = [
        yaml.dump(
            {sentence: msgspec.to_builtins(row)}, Dumper=_Readable, sort_keys=False, width=110, allow_unicode=True
        )
        for sentence, row in rows.items()
    ]
    path.write_text("\n".join(parts), encoding="utf-8")


def plain_path(path: str) -> str:
    """Without what the notations disagree about: `requests[memory]` is `requests.memory`, `.spec` is `spec`."""
    return re.sub(r"\[(?![0-9]+\])([^\]]+)\]", r".\1", path).removeprefix(".")


async def refused(api: HttpApi, body: dict[str, Any]) -> tuple[str, ...]:
    """Have a server check an object, and change nothing: where it refuses it; empty if it takes it."""
    kind = kind_for(body["apiVersion"], body["kind"])
    assert kind is not None
    try:
        await api.create(kind.into(dict), body, dry_run=True)
    except (BadRequest, Invalid, NotFound) as error:
        causes = [cause for cause in error.details.get("causes", ()) if cause.get("field") not in (None, "", "<nil>")]
        return tuple(sorted({plain_path(str(cause["field"])) for cause in causes})) or (str(error.status),)
    return ()
