"""Node selectors, node affinity and pod anti-affinity, of which the scheduler asks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from outrider.kube.objects import LabelSelector
from outrider.kube.selectors import label_selector
from outrider.local.actors.objects import Node, Pod

Placed = Sequence[tuple[Node, tuple[Pod, ...]]]
"""All nodes with the pods on them."""

_FIELDS: Mapping[str, Callable[[Node], str]] = {"metadata.name": lambda node: node.metadata.name}


def matches_node_affinity(pod: Pod, node: Node) -> bool:
    """Whether the node has what `nodeSelector` and the required node affinity ask for."""
    if not pod.spec.node_selector.items() <= node.metadata.labels.items():
        return False
    required = _section(pod, "nodeAffinity").get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(matches_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def matches_term(term: Mapping[str, Any], node: Node) -> bool:
    """Whether the node meets all of a term's requirements; a term without any matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = node.metadata.labels
    return all(_meets(each, labels.get(each.get("key", ""))) for each in expressions) and all(
        _meets(each, _FIELDS.get(each.get("key", ""), _no_field)(node)) for each in fields
    )


def _no_field(_node: Node) -> str:
    return ""


def _meets(requirement: Mapping[str, Any], value: str | None) -> bool:
    values = requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _compared(value, values, lambda one, other: one > other)
        case "Lt":
            return _compared(value, values, lambda one, other: one < other)
        case _:
            return False


def _compared(value: str | None, values: Sequence[str], order: Callable[[int, int], bool]) -> bool:
    """Gt and Lt compare whole numbers, with exactly one value; anything else does not match."""
    try:
        return value is not None and len(values) == 1 and order(int(value), int(values[0]))
    except ValueError:
        return False


def preferred_node_weight(pod: Pod, node: Node) -> int:
    """The sum of the weights of the preferred node affinity terms that the node meets."""
    preferred = _section(pod, "nodeAffinity").get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(int(each.get("weight", 0)) for each in preferred if matches_term(each.get("preference") or {}, node))


def violates_anti_affinity(pod: Pod, node: Node, placed: Placed) -> bool:
    """Whether the pod's required anti-affinity keeps it off the node's topology domain (host, zone, ...)."""
    terms = _section(pod, "podAntiAffinity").get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return any(_term_conflicts(pod, term, node, placed) for term in terms)


def crowding(pod: Pod, node: Node, placed: Placed) -> int:
    """The sum of the weights of the preferred anti-affinity terms that placing the pod on the node would go against."""
    terms = _section(pod, "podAntiAffinity").get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(
        int(each.get("weight", 0))
        for each in terms
        if _term_conflicts(pod, each.get("podAffinityTerm") or {}, node, placed)
    )


def _term_conflicts(pod: Pod, term: Mapping[str, Any], node: Node, placed: Placed) -> bool:
    domain = node.metadata.labels.get(term.get("topologyKey", ""))
    if domain is None or not term.get("labelSelector"):
        return False
    selector = label_selector(msgspec.convert(term["labelSelector"], LabelSelector))
    namespaces = term.get("namespaces") or (pod.metadata.namespace,)
    return any(
        other.metadata.namespace in namespaces and selector.matches(other.metadata.labels)
        for neighbour, pods in placed
        if neighbour.metadata.labels.get(term["topologyKey"]) == domain
        for other in pods
    )


def _section(pod: Pod, name: str) -> Mapping[str, Any]:
    return pod.spec.affinity.get(name) or {}
