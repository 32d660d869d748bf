"""CEL rules of the CRDs, each beside the Python function that means the same.

An API server evaluates the CEL; the local world, which has no CEL, evaluates the Python. A test holds them in step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from outrider.api.labels import GPU_RESOURCE

Holds = Callable[[Any, Any], bool]
"""(the value, the value before the change) -> whether the rule is kept."""


@dataclass(frozen=True)
class Rule:
    """One line of `x-kubernetes-validations`."""

    cel: str
    message: str
    holds: Holds
    field: str = ""
    """Which field below the rule's object to blame; empty for the object itself."""

    @property
    def on_change(self) -> bool:
        """Whether it compares with the object before a change, so that it says nothing of a new one."""
        return "oldSelf" in self.cel

    def manifest(self) -> dict[str, str]:
        path = {"fieldPath": f".{self.field}"} if self.field else {}
        return {"rule": self.cel, "message": self.message} | path


def _has(value: Mapping[str, Any], *names: str) -> bool:
    return all(name in value for name in names)


def _ordered(value: Mapping[str, Any], _: Any) -> bool:
    return "maxReplicas" not in value or bool(value.get("minReplicas", 1) <= value["maxReplicas"])


MINIMUM_BELOW_MAXIMUM = Rule(
    "!has(self.maxReplicas) || (has(self.minReplicas) ? self.minReplicas : 1) <= self.maxReplicas",
    "minReplicas, which is 1 where nothing is said, must not be more than maxReplicas",
    _ordered,
    "minReplicas",
)


def _same_gpus(value: Mapping[str, Any], _: Any) -> bool:
    if not _has(value, "requests", "limits"):
        return True
    requests, limits = value["requests"], value["limits"]
    if GPU_RESOURCE not in requests or GPU_RESOURCE not in limits:
        return True
    return str(requests[GPU_RESOURCE]) == str(limits[GPU_RESOURCE])


GPUS_NOT_OVERCOMMITTED = Rule(
    "!has(self.requests) || !has(self.limits) || "
    f"!('{GPU_RESOURCE}' in self.requests) || !('{GPU_RESOURCE}' in self.limits) || "
    f"string(self.requests['{GPU_RESOURCE}']) == string(self.limits['{GPU_RESOURCE}'])",
    f"requests and limits of {GPU_RESOURCE} must be equal: GPUs cannot be overcommitted",
    _same_gpus,
    "requests",
)


def _says_where(value: Mapping[str, Any], _: Any) -> bool:
    return any(_has(value, name) for name in ("modelUri", "name", "source"))


MODEL_SAYS_WHERE = Rule(
    "has(self.modelUri) || has(self.name) || has(self.source)",
    'Required value: say where the model is, for example modelUri: "hf://meta-llama/Llama-3.1-8B-Instruct"',
    _says_where,
    "modelUri",
)


def _moves(value: Mapping[str, Any], _: Any) -> bool:
    return not _has(value, "maxSurge", "maxUnavailable") or not (
        str(value["maxSurge"]) in ("0", "0%") and str(value["maxUnavailable"]) in ("0", "0%")
    )


ROLLING_UPDATE_MOVES = Rule(
    "!has(self.maxSurge) || !has(self.maxUnavailable) || "
    "!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
    "maxSurge and maxUnavailable must not both be 0: nothing could move",
    _moves,
    "maxSurge",
)


def _names_indicator(value: Mapping[str, Any], _: Any) -> bool:
    return any(_has(value, name) for name in ("errorRate", "latencyP95", "throughput"))


TRIGGER_NAMES_INDICATOR = Rule(
    "has(self.errorRate) || has(self.latencyP95) || has(self.throughput)",
    "name one indicator: errorRate, latencyP95, throughput",
    _names_indicator,
)


def _one_source(value: Mapping[str, Any], _: Any) -> bool:
    return not _has(value, "value", "valueFrom")


ONE_SOURCE = Rule("!(has(self.value) && has(self.valueFrom))", "must have value or valueFrom, not both", _one_source)


def _rise(value: Mapping[str, Any], _: Any) -> bool:
    weights = [step["weight"] for step in value.get("steps", ())]
    return all(before < after for before, after in pairwise(weights))


STEPS_RISE = Rule(
    "!has(self.steps) || (self.steps.map(step, step.weight).isSorted() && "
    "self.steps.all(step, self.steps.exists_one(other, other.weight == step.weight)))",
    "each step must have a larger weight than the one before",
    _rise,
    "steps",
)


def _not_root(value: Mapping[str, Any], _: Any) -> bool:
    enabled = value.get("enabled")
    return value.get("runAsUser") != 0 or enabled is False or not value.get("runAsNonRoot", enabled)


NOT_ROOT = Rule(
    "!has(self.runAsUser) || self.runAsUser != 0 || (has(self.enabled) && !self.enabled) || "
    "!(has(self.runAsNonRoot) ? self.runAsNonRoot : (has(self.enabled) && self.enabled))",
    "runAsUser must not be 0 (root) together with runAsNonRoot, which enabled: true implies",
    _not_root,
    "runAsUser",
)


def _unchanged(value: Any, old: Any) -> bool:
    return bool(value == old)


IMMUTABLE = Rule("self == oldSelf", "a revision never changes: a new release makes a new one", _unchanged)


def _names_target(value: Mapping[str, Any], _: Any) -> bool:
    return bool(value.get("version") or value.get("revision"))


PIN_NAMES_TARGET = Rule(
    "(has(self.version) && self.version != '') || (has(self.revision) && self.revision != '')",
    'name a version (for example "v1.2.0" or "previous-stable") or a revision to hold',
    _names_target,
)

RULES: tuple[Rule, ...] = (
    MINIMUM_BELOW_MAXIMUM,
    GPUS_NOT_OVERCOMMITTED,
    MODEL_SAYS_WHERE,
    ROLLING_UPDATE_MOVES,
    TRIGGER_NAMES_INDICATOR,
    ONE_SOURCE,
    STEPS_RISE,
    NOT_ROOT,
    IMMUTABLE,
    PIN_NAMES_TARGET,
)
_BY_CEL = {rule.cel: rule for rule in RULES}


class UnknownRuleError(ValueError):
    """A schema has a CEL rule for which there is no Python function here: nothing can be said about the object."""


def rule_for(cel: str) -> Rule:
    """The rule that a CEL text is. Raises UnknownRuleError."""
    try:
        return _BY_CEL[cel]
    except KeyError:
        raise UnknownRuleError(f"no Python function is known for the rule {cel!r}: add it here") from None
