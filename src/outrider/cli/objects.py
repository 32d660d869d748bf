"""Finding what a command line names: `llmd`, `pods/x`, `pod x`, `deploy,svc`."""

from typing import Any

from outrider.api.words import closest
from outrider.cli.errors import CliError, Exit
from outrider.cli.manifests import Manifest
from outrider.kube.api import Kind
from outrider.kube.resources import ALL, LLM_DEPLOYMENT, find_kind, kind_for


def kinds_named(word: str) -> list[Kind[Any]]:
    """The kinds that a word means: one, several with commas, or `all` for what belongs to LLM services.

    Raises:
        CliError: a part is no kind that Outrider knows; says which there are.
    """
    if word == "all":
        return [
            LLM_DEPLOYMENT,
            *(kind for kind in ALL if kind.kind in ("ModelRevision", "VersionPin", "Deployment", "Pod", "Service")),
        ]
    return [_kind(part) for part in word.split(",")]


def _kind(word: str) -> Kind[Any]:
    kind = find_kind(word)
    if kind is None:
        names = ", ".join("/".join((known.plural, *known.short_names)) for known in ALL)
        meant = closest(word.lower(), [name for known in ALL for name in (known.plural, known.singular)])
        hints = (*((f"did you mean {meant}?",) if meant else ()), f"known: {names}")
        raise CliError(f"unknown kind {word!r}", exit_code=Exit.USAGE, hints=hints)
    return kind


def kind_of_manifest(manifest: Manifest) -> Kind[Any]:
    """The kind that a manifest says it is.

    Raises:
        CliError: Outrider does not handle it; says which kind is meant, where that can be guessed.
    """
    kind = kind_for(manifest.api_version, manifest.kind)
    if kind is not None:
        return kind
    written = f"{manifest.kind} ({manifest.api_version})"
    names = {known.kind.lower(): known for known in ALL}
    meant = names.get(manifest.kind.lower()) or names.get(closest(manifest.kind.lower(), list(names)))
    if meant is not None:
        wrong = "kind" if meant.kind != manifest.kind else "apiVersion"
        right = meant.kind if wrong == "kind" else meant.api_version
        hints: tuple[str, ...] = (f"did you mean {wrong}: {right}?",)
    else:
        known = ", ".join(sorted(f"{known.kind} ({known.api_version})" for known in ALL))
        hints = (f"it handles: {known}", "on a cluster, apply other kinds with kubectl")
    raise CliError(f"{manifest.source}: Outrider does not handle {written}", exit_code=Exit.INVALID, hints=hints)


def split_target(kind_word: str, name: str | None) -> tuple[str, str | None]:
    """`pod/x` and `pod x` mean the same."""
    if "/" in kind_word and name is None:
        kind, _, rest = kind_word.partition("/")
        return kind, rest or None
    return kind_word, name


def service_name(word: str) -> str:
    """The LLMDeployment that a word names: NAME, or llmd/NAME as `get` prints it.

    Raises:
        CliError: it names an object of another kind.
    """
    if "/" not in word:
        return word
    kind, name = one_object(word, None)
    if kind != LLM_DEPLOYMENT:
        raise CliError(f"{word!r} is no LLMDeployment: name one", exit_code=Exit.USAGE)
    return name


def one_object(kind_word: str, name: str | None) -> tuple[Kind[Any], str]:
    """The one object that `KIND NAME` or `KIND/NAME` names; a name alone is an LLMDeployment's.

    Raises:
        CliError: no name is given, or the kind is unknown.
    """
    word, rest = split_target(kind_word, name)
    if rest is not None:
        return _kind(word), rest
    if find_kind(word) is None:
        return LLM_DEPLOYMENT, word
    raise CliError(f"which {_kind(word).singular}? Write: {word} NAME", exit_code=Exit.USAGE)
