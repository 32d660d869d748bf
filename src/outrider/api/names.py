"""Names that follow from other names, and the rules that Kubernetes has for them.

Rules: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/.
"""

import hashlib
import re
from collections.abc import Mapping

LABEL_LENGTH = 63
"""Longest Service name and label value."""
SUBDOMAIN_LENGTH = 253
"""Longest name of an object whose name is a DNS subdomain."""
HASH_LENGTHS = (8, 16, 32)
"""Hex digits of a hash suffix. 32 bits tell the names of one namespace apart; more only where even that is taken."""

_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
_LABEL_VALUE = re.compile(LABEL_VALUE_PATTERN, re.ASCII)

LABEL_VALUE_RULE = (
    "must be a label value: empty, or at most 63 letters, digits, '-', '_' and '.', "
    "with a letter or digit first and last"
)


def is_service_name(text: str) -> bool:
    """Whether Kubernetes takes it as the name of a Service: a DNS label (RFC 1035), at most 63 characters."""
    return len(text) <= LABEL_LENGTH and _DNS_1035.fullmatch(text) is not None


def is_label_value(text: str) -> bool:
    """Whether Kubernetes takes it as the value of a label."""
    return len(text) <= LABEL_LENGTH and _LABEL_VALUE.fullmatch(text) is not None


def subdomain_problem(text: str) -> str | None:
    """What is wrong with an object's name as a DNS subdomain (RFC 1123), and what is allowed; None if nothing is."""
    if not text:
        return "must not be empty"
    if len(text) > SUBDOMAIN_LENGTH:
        return f"is {len(text)} characters long: at most {SUBDOMAIN_LENGTH} are allowed"
    if _SUBDOMAIN.fullmatch(text) is None:
        return (
            "must be lower-case letters, digits, '-' and '.', and begin and end with a letter or digit, "
            'for example "llama-3.1-8b"'
        )
    return None


def service_name(name: str, taken: Mapping[str, str] | None = None) -> str:
    """The name of the Service for the LLMDeployment `name`: `llama-3.1-8b` gets `llama-3-1-8b`.

    `taken` maps the namespace's Service names to the LLMDeployment that owns each (anything else for a Service that
    is nobody's). A Service that `name` owns already keeps its name, whatever has come since; a wanted name that
    another has gets a suffix made from the hash of `name`, so the answer depends on nothing else.
    """
    taken = taken or {}
    candidates = _service_candidates(name)
    owned = next((candidate for candidate in candidates if taken.get(candidate) == name), None)
    return owned or next((candidate for candidate in candidates if candidate not in taken), candidates[-1])


def service_names(name: str) -> tuple[str, ...]:
    """Every name that a Service of the LLMDeployment `name` may get, its endpoint picker's included.

    Whoever decides about them needs to look at no other Service of the namespace.
    """
    candidates = _service_candidates(name)
    return (*candidates, *(picker for candidate in candidates for picker in picker_names(candidate)))


def candidate_service_name(service: str, revision_hash: str) -> str:
    """The name of the Service for one revision alone, beside the Service `service` for all requests."""
    name = f"{service}-{revision_hash}"
    kept = LABEL_LENGTH - len(revision_hash) - 1
    return name if len(name) <= LABEL_LENGTH else f"{_shorten(service, service, kept)}-{revision_hash}"


PICKER_SUFFIX = "-epp"
"""Of the endpoint picker's objects, as in llm-d's charts."""


def picker_names(service: str) -> tuple[str, ...]:
    """What the endpoint picker of the Service may be called, best first; each is good for a Service, too."""
    plain = f"{service}{PICKER_SUFFIX}"
    hashed = tuple(f"{_shorten(service, service, LABEL_LENGTH - 4, digits)}{PICKER_SUFFIX}" for digits in HASH_LENGTHS)
    return (plain, *hashed) if len(plain) <= LABEL_LENGTH else hashed


def _service_candidates(name: str) -> list[str]:
    label = _as_service_label(name)
    hashed = [_shorten(label, name, LABEL_LENGTH, digits) for digits in HASH_LENGTHS]
    return [label, *hashed] if is_service_name(label) else hashed


def _as_service_label(name: str) -> str:
    """Dots to dashes; a name that begins with a digit gets a letter in front."""
    label = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    return label if label[:1].isalpha() else f"m-{label}".rstrip("-")


def _shorten(text: str, of: str, length: int, digits: int = HASH_LENGTHS[0]) -> str:
    """`text`, cut so that it and a dash and the hash of `of` take at most `length` characters."""
    digest = hashlib.sha256(of.encode()).hexdigest()[:digits]
    return f"{text[: length - digits - 1].rstrip('-._')}-{digest}"


def label_value(name: str) -> str:
    """`name` as the value of a label: itself where Kubernetes allows that, else cleaned, cut and given a hash."""
    if is_label_value(name):
        return name
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")
    return _shorten(cleaned, name, LABEL_LENGTH).lstrip("-._")


def revision_name(deployment: str, revision_hash: str) -> str:
    """The name of a ModelRevision: `DEPLOYMENT-HASH`, a DNS subdomain however long the deployment's name is."""
    name = f"{deployment}-{revision_hash}"
    if len(name) <= SUBDOMAIN_LENGTH:
        return name
    kept = SUBDOMAIN_LENGTH - len(revision_hash) - 1
    return f"{_shorten(deployment, deployment, kept)}-{revision_hash}"


def drill_name(deployment: str, revision_hash: str) -> str:
    """The name of the Deployment in which a revision is drilled: `DEPLOYMENT-HASH-drill`."""
    return revision_name(deployment, f"{revision_hash}-drill")
