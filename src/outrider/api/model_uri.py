"""Where a model's files are: `hf://namespace/name[@revision]`, `s3://`, `gs://`, `oci://`, `pvc://`, `file://`, `http(s)://`."""

import re
from dataclasses import dataclass
from typing import Any, Literal, Self

Scheme = Literal["hf", "s3", "gs", "oci", "pvc", "file", "http", "https"]
SCHEMES: tuple[Scheme, ...] = ("hf", "s3", "gs", "oci", "pvc", "file", "http", "https")

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HUB_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
# White space is written out: \s of an API server's patterns (RE2) has no vertical tab, and Python's has.
_FORMS: dict[Scheme, tuple[re.Pattern[str], str]] = {
    "hf": (
        re.compile(rf"^({_HUB_NAME}/{_HUB_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?$", re.ASCII),
        "hf://NAMESPACE/NAME or hf://NAMESPACE/NAME@REVISION",
    ),
    "s3": (re.compile(r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[^ \t\n\v\f\r?#]*)?)$", re.ASCII), "s3://BUCKET/PREFIX"),
    "gs": (
        re.compile(r"^([a-z0-9][a-z0-9._-]{1,220}[a-z0-9](?:/[^ \t\n\v\f\r?#]*)?)$", re.ASCII),
        "gs://BUCKET/PREFIX",
    ),
    "oci": (
        re.compile(
            r"^([A-Za-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9._-]+)+)(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127})|@(sha256:[0-9a-f]{64}))?$",
            re.ASCII,
        ),
        "oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:DIGEST",
    ),
    "pvc": (re.compile(rf"^({_LABEL}(?:\.{_LABEL})*(?:/[^ \t\n\v\f\r?#]*)?)$", re.ASCII), "pvc://CLAIM/PATH"),
    "file": (re.compile(r"^(/[^ \t\n\v\f\r?#]+)$", re.ASCII), "file:///ABSOLUTE/PATH"),
    "http": (re.compile(r"^([A-Za-z0-9.-]+(?::[0-9]+)?/[^ \t\n\v\f\r]*)$", re.ASCII), "http://HOST/PATH"),
    "https": (re.compile(r"^([A-Za-z0-9.-]+(?::[0-9]+)?/[^ \t\n\v\f\r]*)$", re.ASCII), "https://HOST/PATH"),
}
PATTERN = r"^(hf|s3|gs|oci|pvc|file|https?)://[^ \t\n\v\f\r]+$"
_LONGEST = 2048


def _must_look_like(form: str) -> str:
    return f"Invalid model URI: must look like {form}"


def forms() -> tuple[tuple[str, str, str], ...]:
    """For whoever checks URIs without this parser: how one begins, the pattern it then keeps, what to say if not."""
    return tuple(
        (f"{scheme}://", f"^{scheme}://{pattern.pattern.removeprefix('^')}", _must_look_like(form))
        for scheme, (pattern, form) in _FORMS.items()
    )


@dataclass(frozen=True)
class ModelUri:
    """A place that a model's files can be fetched from."""

    scheme: Scheme
    location: str
    """What follows `://`, without the revision."""
    revision: str = ""
    """Branch, tag or commit of a Hugging Face repository, or tag or digest of an OCI artifact; else empty."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a model URI. Raises ValueError that says what is allowed."""
        scheme, separator, rest = text.partition("://")
        known = next((name for name in SCHEMES if name == scheme), None)
        if not separator or known is None:
            raise ValueError(f"Invalid model URI: must begin with one of {', '.join(f'{name}://' for name in SCHEMES)}")
        pattern, form = _FORMS[known]
        found = pattern.fullmatch(rest) if len(text) <= _LONGEST else None
        if found is None:
            raise ValueError(_must_look_like(form))
        location, *revisions = found.groups()
        return cls(known, location, next(filter(None, revisions), ""))

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read a model URI out of JSON. Raises ValueError."""
        if isinstance(raw, str):
            return cls.parse(raw)
        raise ValueError('Invalid model URI: must be text, for example "hf://meta-llama/Llama-3.1-8B-Instruct"')

    def __str__(self) -> str:
        separator = ""
        if self.revision:
            separator = ":" if self.scheme == "oci" and not self.revision.startswith("sha256:") else "@"
        return f"{self.scheme}://{self.location}{separator}{self.revision}"

    @property
    def name(self) -> str:
        """The model's short name: the last part of the location."""
        return self.location.rstrip("/").rpartition("/")[2]

    @property
    def repository(self) -> str:
        """`namespace/name` on the Hugging Face hub; empty for other schemes."""
        return self.location if self.scheme == "hf" else ""
