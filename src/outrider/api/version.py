"""Model versions: semantic versions with or without `v`, `latest`, free tags, and the alias `previous-stable`.

Order and grammar of semantic versions: semver.org 2.0.0.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal, Self

LATEST = "latest"
PREVIOUS_STABLE = "previous-stable"
"""The newest revision that served well before the one that serves now."""
PREVIOUS_STABLE_ALIASES = (PREVIOUS_STABLE, "previous-stable-tag")
"""The second is the SRE guide's literal, which people paste as it stands."""

_NUMBER = r"(0|[1-9][0-9]*)"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    rf"^v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PRE}(?:\.{_PRE})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$",
    re.ASCII,
)
PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}$"
"""Tags as OCI registries allow them, plus `+` for semantic versions with build metadata."""
_TAG = re.compile(PATTERN, re.ASCII)
_ALLOWED = (
    'must be a version such as "v1.2.0", "latest", "previous-stable", '
    "or a tag of letters, digits and . _ - (at most 128 characters)"
)

Kind = Literal["semantic", "latest", "previous-stable", "tag"]


@dataclass(frozen=True)
class Version:
    """A version as written, and what is known of it. Equal when written alike."""

    text: str
    kind: Kind
    release: tuple[int, int, int] | None = None
    """Major, minor and patch of a semantic version."""
    pre_release: tuple[str, ...] = ()
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a version. Raises ValueError that says what is allowed."""
        if not _TAG.fullmatch(text):
            raise ValueError(_ALLOWED)
        if text == LATEST:
            return cls(text, "latest")
        if is_previous_stable(text):
            return cls(text, "previous-stable")
        found = _SEMVER.fullmatch(text)
        if found is None:
            return cls(text, "tag")
        major, minor, patch, pre, build = found.groups()
        return cls(
            text,
            "semantic",
            (int(major), int(minor), int(patch)),
            tuple((pre or "").split(".")) if pre else (),
            build or "",
        )

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read a version out of JSON. Raises ValueError; YAML reads an unquoted 1.2 as a number."""
        if isinstance(raw, str):
            return cls.parse(raw)
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            raise ValueError(f'is a number: put it in quotes ("{raw}")')  # noqa: TRY004 - ValueError is the parsers' contract
        if isinstance(raw, bool):
            raise ValueError(f"is {str(raw).lower()} in YAML, as yes, no, on and off are: put it in quotes")  # noqa: TRY004
        raise ValueError(_ALLOWED)

    def __str__(self) -> str:
        return self.text

    @property
    def pinned(self) -> bool:
        """Whether it names one release for good, as production wants it: a semantic version does."""
        return self.kind == "semantic"


def is_previous_stable(text: str) -> bool:
    """Whether a version asks for the last one that served well, in Outrider's words or in the guide's."""
    return text in PREVIOUS_STABLE_ALIASES


def compare(one: Version, other: Version) -> int | None:
    """-1, 0 or 1 as `one` comes before, with or after `other`; None unless both are semantic versions.

    Build metadata does not count, and a pre-release comes before its release (semver.org, 11).
    """
    if one.release is None or other.release is None:
        return None
    left, right = _precedence(one), _precedence(other)
    return (left > right) - (left < right)


_Precedence = tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]


def _precedence(version: Version) -> _Precedence:
    identifiers = tuple((False, int(part), "") if part.isdigit() else (True, 0, part) for part in version.pre_release)
    return version.release or (0, 0, 0), not version.pre_release, identifiers
