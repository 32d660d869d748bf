"""Finding what a command line names: `llmd`, `pods/x`, `pod x`, `deploy,svc`."""

from typing import Any

from outrider.cli.errors import CliError, Exit
from outrider.kube.api import Kind
from outrider.kube.resources import ALL, LLM_DEPLOYMENT, find_kind


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
        raise CliError(f"unknown kind {word!r}", exit_code=Exit.USAGE, hints=(f"known: {names}",))
    return kind


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
