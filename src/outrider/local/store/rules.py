"""What is particular to a kind: subresources, names, defaults, validation, and how its lists merge."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from outrider.kube.api import Kind, Object
from outrider.local.store import builtin_defaults, builtin_validation
from outrider.local.store.errors import Cause
from outrider.local.store.shapes import BUILT_IN_SHAPES, PLAIN_KIND, Shape

NameForm = Literal["subdomain", "label", "service"]
"""DNS-1123 subdomain, DNS-1123 label, or DNS-1035 label."""


def _nothing(_obj: Object) -> None:
    return None


def _no_complaint(_new: Object, _old: Object | None) -> list[Cause]:
    return []


class Rules(msgspec.Struct, frozen=True):
    """The rules of one kind."""

    shape: Shape = PLAIN_KIND
    has_status: bool = False
    """Whether it has a status subresource: then status is written there and nowhere else."""
    counts_generations: bool = False
    """Whether `metadata.generation` counts the changes of the spec."""
    updates_unconditionally: bool = True
    """Whether a replacement (PUT) may leave out the version that it replaces."""
    keeps_status_on_create: bool = False
    """Nodes come with a status."""
    has_scale: bool = False
    """Whether it has a scale subresource, which speaks of `spec.replicas`."""
    name_form: NameForm = "subdomain"
    strategic: bool = True
    """Whether strategic merge patches are understood, as they are for built-in kinds alone."""
    default: Callable[[Object], None] = _nothing
    """Fills in, in place, what the object leaves out. It runs on every write."""
    prepare: Callable[[Object], None] = _nothing
    """Changes, in place, an object that is being created: what admission and the kind's own strategy add."""
    admit: Callable[[Object], None] = _nothing
    """Changes, in place, an object that is being created or changed: what admission adds. It is nobody's."""
    validate: Callable[[Object, Object | None], list[Cause]] = _no_complaint
    """All that is wrong with `new`; `old` is what it replaces, None at creation."""


def built_in_rules(kind: Kind[Any]) -> Rules:
    """The rules of a kind that Kubernetes itself, or Gateway API, defines."""
    name = (kind.group, kind.kind)
    custom = kind.group == "gateway.networking.k8s.io"
    return Rules(
        shape=BUILT_IN_SHAPES.get(name, PLAIN_KIND),
        has_status=name in _WITH_STATUS,
        counts_generations=name in _WITH_GENERATION,
        updates_unconditionally=name not in _CONDITIONAL,
        keeps_status_on_create=name == ("", "Node"),
        has_scale=name in _SCALED,
        name_form=_NAME_FORMS.get(name, "subdomain"),
        strategic=not custom,
        default=builtin_defaults.DEFAULTS.get(name, _nothing) if custom else _typed(name),
        prepare=builtin_defaults.PREPARE.get(name, _nothing),
        admit=builtin_defaults.ADMIT.get(name, _nothing),
        validate=builtin_validation.VALIDATORS.get(name, _no_complaint),
    )


def _typed(name: tuple[str, str]) -> Callable[[Object], None]:
    """The defaults of a kind that is a Go type of Kubernetes', and not a custom resource."""
    fill = builtin_defaults.DEFAULTS.get(name, _nothing)

    def default(obj: Object) -> None:
        builtin_defaults.leave_out_empty(obj)
        fill(obj)

    return default


_SCALED = {("apps", "Deployment"), ("apps", "ReplicaSet")}
_WITH_STATUS = _SCALED | {
    ("", "Namespace"), ("", "Node"), ("", "Pod"), ("", "Service"), ("policy", "PodDisruptionBudget"),
    ("gateway.networking.k8s.io", "GatewayClass"), ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
}  # fmt: skip
_WITH_GENERATION = _SCALED | {
    ("", "Pod"), ("policy", "PodDisruptionBudget"), ("discovery.k8s.io", "EndpointSlice"),
    ("gateway.networking.k8s.io", "Gateway"), ("gateway.networking.k8s.io", "HTTPRoute"),
}  # fmt: skip
_CONDITIONAL = {
    ("coordination.k8s.io", "Lease"), ("policy", "PodDisruptionBudget"),
    ("gateway.networking.k8s.io", "Gateway"), ("gateway.networking.k8s.io", "HTTPRoute"),
}  # fmt: skip
_NAME_FORMS: Mapping[tuple[str, str], NameForm] = {("", "Namespace"): "label", ("", "Service"): "service"}
