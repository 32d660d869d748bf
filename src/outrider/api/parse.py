"""From the JSON of an LLMDeployment's spec to its typed form, or to everything that is wrong with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import msgspec

from outrider.api import aliases, capabilities, catalog, names
from outrider.api.checks import run_checks
from outrider.api.errors import ABSENT, NOT_SUPPORTED, TYPE_INVALID, FieldError, kind_of
from outrider.api.labels import GPU_RESOURCE
from outrider.api.quantity import Quantity
from outrider.api.spec import ENGINE_ADJUSTMENTS, LLMDeploymentSpec, adjusts_engine
from outrider.api.spec_model import Model, Resources
from outrider.api.spec_operations import INDICATORS, Stage
from outrider.api.walk import Findings, join, read_struct
from outrider.api.words import closest

__all__ = ["Facts", "FieldError", "Parsed", "parse_spec", "stage_of_namespace"]

STAGE_KEY = "deployment.stage"

_DEEPEST = 100
"""Levels of a spec that are read. Kubernetes' own deepest, in a pod's affinity, has fewer than 20."""

_TRIGGER_ENTRY = re.compile(r"spec\.rollback\.autoRollback\.triggers\[\d+\](\.[^.]+|\[.*\])")

_STAGES: dict[str, Stage] = {stage: stage for stage in get_args(Stage)}
_STAGES_BY_NAMESPACE: dict[str, Stage] = {
    "production": "production",
    "prod": "production",
    "llm-d-production": "production",
    "staging": "staging",
    "stage": "staging",
    "development": "development",
    "dev": "development",
    "poc": "poc",
}


@dataclass(frozen=True)
class Facts:
    """What the object's metadata says about the service, in the SRE guide's keys. Empty where it says nothing."""

    stage: Stage = "development"
    stage_from: str = "default"
    """`spec`, `label`, `annotation`, `namespace` or `default`."""
    owner: str = ""
    """`data-scientist.owner`."""
    contact: str = ""
    """`sre.contact`."""
    runbook: str = ""
    """`sre.runbook`: a URL."""
    budget_class: str = ""
    """`cost.budget`: a spending priority, not an amount."""
    model_type: str = ""
    """Label `model.type`."""


@dataclass(frozen=True)
class Parsed:
    """All that `parse_spec` found."""

    spec: LLMDeploymentSpec | None
    """With defaults applied; None when there are errors."""
    errors: tuple[FieldError, ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    """Paths that no version of Outrider knows."""
    meant: tuple[tuple[str, str], ...] = ()
    """(path of an unknown field, name of the field that was probably meant), where that can be guessed."""
    not_acted_on: tuple[str, ...] = ()
    """Paths of known fields whose capability this version lacks; `capabilities.NOT_ACTED_ON` has the reasons."""
    conditional: tuple[tuple[str, str], ...] = ()
    """(line of `capabilities.CONDITIONAL`, path as it is written): what has an effect only in some clusters."""
    facts: Facts = Facts()
    defaulted: tuple[str, ...] = ()
    """What was filled in from the catalogue, in sentences."""

    @property
    def reported(self) -> tuple[str, ...]:
        """What belongs into `status.ignoredFields`: written, and without effect."""
        return tuple(sorted({*self.ignored, *self.not_acted_on}))


def parse_spec(
    raw: bytes | msgspec.Raw | Mapping[str, Any],
    *,
    name: str,
    namespace: str,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Parsed:
    """Read the `spec` of the LLMDeployment `namespace/name`. Never raises because of what is in it.

    Errors come all at once, under the paths that the author wrote, aliases included.
    """
    metadata_errors = _check_name(name)
    decoded = _decode(raw)
    if isinstance(decoded, FieldError):
        return Parsed(None, (*metadata_errors, decoded))
    folded = aliases.fold(decoded)
    findings = Findings()
    spec = read_struct(LLMDeploymentSpec, folded.spec, "spec", findings)
    _refuse_unknown_indicators(findings)
    broken = {error.path for error in findings.errors}
    facts, fact_warnings = _facts(spec, namespace, annotations or {}, labels or {}, broken)
    written = spec
    spec, defaulted = _complete(written, facts, broken)
    check_errors, check_warnings = run_checks(spec, written, broken)
    field_errors = [_as_written(error, folded) for error in [*findings.errors, *check_errors]]
    errors = (*metadata_errors, *folded.errors, *field_errors)
    return Parsed(
        spec=None if errors else spec,
        errors=errors,
        warnings=(*fact_warnings, *check_warnings),
        ignored=(*_unknown_fields(findings, folded), *_unused_adjustments(spec, broken)),
        meant=_meant(findings, folded),
        not_acted_on=_not_acted_on(spec, findings, folded),
        conditional=_conditional(findings, folded),
        facts=facts,
        defaulted=defaulted,
    )


def stage_of_namespace(namespace: str) -> Stage | None:
    """The stage that a namespace's name means by convention; None where it means none."""
    return _STAGES_BY_NAMESPACE.get(namespace)


def _check_name(name: str) -> tuple[FieldError, ...]:
    problem = names.subdomain_problem(name)
    return (FieldError("metadata.name", name, problem),) if problem else ()


def _decode(raw: bytes | msgspec.Raw | Mapping[str, Any]) -> Mapping[str, Any] | FieldError:
    decoded: Any = raw
    if isinstance(raw, bytes | msgspec.Raw):
        try:
            decoded = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return FieldError("spec", ABSENT, f"is not readable as JSON: {error}", TYPE_INVALID)
    if not isinstance(decoded, Mapping):
        message = f"must be an object, not {kind_of(decoded)}: begin with model, which says what to serve"
        return FieldError("spec", decoded, message, TYPE_INVALID)
    if _is_deeper(decoded, _DEEPEST):
        return FieldError(
            "spec", ABSENT, f"is nested more than {_DEEPEST} levels deep: no field needs that", TYPE_INVALID
        )
    return decoded


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether there are values below that many levels. Without recursion, which has a limit of its own."""
    level = [value]
    for _ in range(levels):
        parts = [part.values() if isinstance(part, Mapping) else part for part in level]
        level = [item for part in parts for item in part if isinstance(item, Mapping | list | tuple)]
        if not level:
            return False
    return True


def _as_written(error: FieldError, folded: aliases.Folded) -> FieldError:
    return replace(error, path=folded.path_as_written(error.path))


def _refuse_unknown_indicators(findings: Findings) -> None:
    """A trigger that nobody evaluates would be a false safety: unlike other unknown fields it is an error."""
    for path in findings.unknown:
        found = _TRIGGER_ENTRY.fullmatch(path)
        if found:
            message = f"is not an indicator: use one of {', '.join(INDICATORS)}"
            findings.errors.append(FieldError(path, ABSENT, message, NOT_SUPPORTED))
    findings.unknown = [path for path in findings.unknown if not _TRIGGER_ENTRY.fullmatch(path)]


def _unknown_fields(findings: Findings, folded: aliases.Folded) -> tuple[str, ...]:
    unknown = (path for path in findings.unknown if capabilities.covering_line(path) is None)
    return tuple(folded.path_as_written(path) for path in unknown)


def _meant(findings: Findings, folded: aliases.Folded) -> tuple[tuple[str, str], ...]:
    """Other ways of writing a field are meant as often as the field itself."""
    found = dict(findings.meant)
    for path in findings.unknown:
        parent, _, name = path.removeprefix("spec.").rpartition(".")
        others = [alias.rpartition(".")[2] for alias, _ in aliases.MOVED if alias.rpartition(".")[0] == parent]
        word = closest(name, others)
        if word:
            found.setdefault(path, word)
    return tuple((folded.path_as_written(path), word) for path, word in found.items())


def _unused_adjustments(spec: LLMDeploymentSpec, broken: set[str]) -> tuple[str, ...]:
    """What a container without an image says about the engine beyond what Outrider takes from it."""
    if any(path.startswith("spec.containers") for path in broken):
        return ()
    return tuple(
        join(f"spec.containers[{at}]", key)
        for at, container in enumerate(spec.containers)
        if adjusts_engine(container)
        for key in container
        if key not in ENGINE_ADJUSTMENTS
    )


def _not_acted_on(spec: LLMDeploymentSpec, findings: Findings, folded: aliases.Folded) -> tuple[str, ...]:
    lines = list(capabilities.not_acted_on([*findings.seen, *folded.touched, *findings.unknown]))
    if not findings.errors:
        lines += capabilities.not_possible(spec, findings.seen)
    return tuple(dict.fromkeys(folded.path_as_written(line) for line in lines))


def _conditional(findings: Findings, folded: aliases.Folded) -> tuple[tuple[str, str], ...]:
    lines = capabilities.conditional([*findings.seen, *folded.touched])
    return tuple((line, folded.path_as_written(line)) for line in lines)


def _facts(
    spec: LLMDeploymentSpec, namespace: str, annotations: Mapping[str, str], labels: Mapping[str, str], broken: set[str]
) -> tuple[Facts, list[str]]:
    """The spec's stage decides, then the label, the annotation, the namespace; label and annotation should agree."""
    warnings = []
    said: list[tuple[str, Stage]] = []
    if not broken & {"spec.deployment", "spec.deployment.stage"} and spec.deployment.stage is not None:
        said.append(("spec", spec.deployment.stage))
    for source, values in (("label", labels), ("annotation", annotations)):
        text = values.get(STAGE_KEY)
        if text in _STAGES:
            said.append((source, _STAGES[text]))
        elif text is not None:
            warnings.append(f'{source} {STAGE_KEY} is "{text}", which is no stage: use one of {", ".join(_STAGES)}')
    by_namespace = stage_of_namespace(namespace)
    if by_namespace is not None:
        said.append(("namespace", by_namespace))
    source, stage = said[0] if said else ("default", Facts.stage)
    warnings += [
        f"{other} says stage {otherwise}, {source} says {stage}: {stage} counts"
        for other, otherwise in said[1:]
        if otherwise != stage and other != "namespace"
    ]
    facts = Facts(
        stage=stage,
        stage_from=source,
        owner=annotations.get("data-scientist.owner", ""),
        contact=annotations.get("sre.contact", ""),
        runbook=annotations.get("sre.runbook", ""),
        budget_class=annotations.get("cost.budget", ""),
        model_type=labels.get("model.type", ""),
    )
    return facts, warnings


def _complete(spec: LLMDeploymentSpec, facts: Facts, broken: set[str]) -> tuple[LLMDeploymentSpec, tuple[str, ...]]:
    """The spec with everything filled in that follows from something else."""
    if not broken & {"spec.deployment", "spec.deployment.stage"}:
        release = msgspec.structs.replace(spec.deployment, stage=facts.stage)
        spec = msgspec.structs.replace(spec, deployment=release)
    if any(path.startswith(("spec.model", "spec.resources")) for path in broken) or not spec.model.model_uri.location:
        return spec, ()
    model = msgspec.structs.replace(spec.model, name=spec.model.name or spec.model.model_uri.name)
    resources, defaulted = _complete_resources(spec.resources, model)
    return msgspec.structs.replace(spec, model=model, resources=resources), defaulted


def _complete_resources(written: Resources, model: Model) -> tuple[Resources, tuple[str, ...]]:
    """What is not requested is taken from the limit, then (memory, CPUs, GPUs) from the size of the weights."""
    stated = written.limits | written.requests
    gpus = stated[GPU_RESOURCE].whole if GPU_RESOURCE in stated else None
    missing = {
        resource: amount
        for resource, amount in catalog.default_resources(model.weights_bytes, gpus).items()
        if resource not in stated
    }
    requests = stated | missing
    resources = msgspec.structs.replace(written, requests=requests, limits=_complete_limits(written, requests))
    if not missing:
        return resources, ()
    amounts = ", ".join(f"{resource} {amount}" for resource, amount in sorted(missing.items()))
    size = f"{model.weights_bytes / 1e9:.1f} GB of weights ({model.quantization.type})"
    return resources, (f"spec.resources: {amounts}, for {size}",)


def _complete_limits(written: Resources, requests: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Memory and devices are limited to what is requested unless the spec allows more. CPU is not limited by default:
    a limit there throttles the engine while it loads and gains nobody anything.
    """
    unlimited = {"cpu"} - written.limits.keys()
    return {resource: amount for resource, amount in requests.items() if resource not in unlimited} | written.limits
