"""What one field of a spec says about another: rules that no single field's type can hold.

Each rule is a small function from a readable spec to findings. It runs when every field it reads was readable
(`needs`), so that one mistake is reported once.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from outrider.api import catalog
from outrider.api.duration import Duration
from outrider.api.errors import REQUIRED, TYPE_INVALID, FieldError, required
from outrider.api.labels import GPU_RESOURCE
from outrider.api.money import Money
from outrider.api.percentage import Percentage
from outrider.api.spec import LLMDeploymentSpec
from outrider.api.spec_operations import INDICATORS
from outrider.api.trigger import Trigger
from outrider.api.walk import join

Finding = FieldError | str
"""An error, or the text of a warning."""
Rule = Callable[[LLMDeploymentSpec], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    needs: tuple[str, ...]
    """Paths that must have been read without error; a path stands for everything below it."""
    rule: Rule
    tolerant: bool = False
    """Whether the rule copes with unreadable values below its paths, so that it can check the rest."""
    as_written: bool = False
    """Whether the rule reads what the author wrote, before defaults: what is copied from it would be blamed twice."""


KNOWN_SCHEDULERS = ("llm-d-inference-scheduler",)
KNOWN_OBJECTIVES = ("request_latency_p95", "cost_per_request", "availability", "tokens_per_second")
_WEIGHT_TOLERANCE = 0.01


def _model_has_uri(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    if not spec.model.model_uri.location:
        yield required(
            "spec.model.modelUri", 'say where the model is, for example "hf://meta-llama/Llama-3.1-8B-Instruct"'
        )


def _replica_bounds(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    scaling = spec.autoscaling
    if scaling.max_replicas == 0 and scaling.min_replicas is None:
        message = "must be 1 or more: say minReplicas: 0, too, if nothing is to run"
        yield FieldError("spec.autoscaling.maxReplicas", 0, message)
        return
    if scaling.max_replicas is not None and scaling.minimum > scaling.max_replicas:
        yield FieldError(
            "spec.autoscaling.minReplicas",
            scaling.minimum,
            f"must not be more than maxReplicas, {scaling.max_replicas}",
        )
        return
    if scaling.enabled and spec.replicas is not None and spec.replicas != spec.desired_replicas:
        yield (
            f"spec.replicas is {spec.replicas}, but autoscaling keeps the number between {scaling.minimum} and "
            f"{scaling.maximum}: {spec.desired_replicas} will run"
        )


def _no_replicas(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    if spec.desired_replicas == 0:
        yield "no replica will run, and requests do not start one: nobody answers until somebody scales up"


def _resource_bounds(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    for name, limit in spec.resources.limits.items():
        request = spec.resources.requests.get(name)
        if request is None or request == limit:
            continue
        path = join("spec.resources.requests", name)
        if name == GPU_RESOURCE:
            yield FieldError(path, str(request), f"must equal the limit, {limit}: GPUs cannot be overcommitted")
        elif request > limit:
            yield FieldError(path, str(request), f"must not be more than the limit, {limit}")


def _whole_gpus(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    for part, amounts in (("requests", spec.resources.requests), ("limits", spec.resources.limits)):
        amount = amounts.get(GPU_RESOURCE)
        if amount is not None and amount.value.denominator != 1:
            yield FieldError(f"spec.resources.{part}[{GPU_RESOURCE}]", str(amount), "must be a whole number of GPUs")


def _gpus_for_parallelism(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    parallel, gpus = spec.model.parallelism, spec.resources.gpus
    wanted = (parallel.tensor or 1) * parallel.pipeline * parallel.data
    if gpus and wanted > gpus:
        yield FieldError(
            "spec.model.parallelism",
            {"tensor": parallel.tensor or 1, "pipeline": parallel.pipeline, "data": parallel.data},
            f"needs {wanted} GPUs in each replica, which has {gpus}: lower it, or "
            f"raise spec.resources.requests[{GPU_RESOURCE}]",
        )


def _weights_fit(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    if not spec.model.model_uri.location:
        return
    gpus, weights = spec.resources.gpus, spec.model.weights_bytes
    if not gpus:
        yield f"spec.resources asks for no {GPU_RESOURCE}: the model will run on CPUs, far slower"
        return
    room = gpus * catalog.REFERENCE_GPU_BYTES * catalog.GPU_MEMORY_UTILIZATION
    if weights > room:
        yield (
            f"Insufficient GPU memory: the weights take about {weights / 1e9:.0f} GB and {gpus} GPU(s) of 80 GB hold "
            f"{room / 1e9:.0f} GB: ask for {catalog.gpus_for(weights)} GPUs, or quantize"
        )


def _version_in_production(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    version = spec.model.version
    if spec.stage == "production" and version.kind in ("latest", "tag"):
        yield (
            f'spec.model.version is "{version}" in production: what it means can change under a running service; '
            'pin a semantic version such as "v1.2.0"'
        )


def _placeholder_checksum(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    if spec.model.checksums.placeholder:
        yield (
            f'spec.model.checksums.sha256 is a placeholder ("{spec.model.checksums.sha256}"): nothing can be verified '
            "with it; write all 64 hex digits"
        )


def _known_scheduler(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    scheduler = spec.scheduling.scheduler
    if scheduler and scheduler not in KNOWN_SCHEDULERS:
        yield (
            f'scheduler "{scheduler}" not found: spec.scheduling.scheduler names a scheduler of requests, '
            f"{' or '.join(KNOWN_SCHEDULERS)}; pods are placed by the cluster's own scheduler"
        )


def _objectives(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    policy = spec.scheduling.slo_policy
    for at, objective in enumerate(policy.objectives):
        path = f"spec.scheduling.sloPolicy.objectives[{at}]"
        if objective.name not in KNOWN_OBJECTIVES:
            yield f'{path}.name "{objective.name}" is not known: use one of {", ".join(KNOWN_OBJECTIVES)}'
        if not _is_target(objective.target):
            yield FieldError(f"{path}.target", objective.target, 'must be like "500ms", "$0.001", "99.9%" or 150')
    total = sum(objective.weight for objective in policy.objectives)
    if policy.objectives and abs(total - 1) > _WEIGHT_TOLERANCE:
        yield f"the weights of spec.scheduling.sloPolicy.objectives add up to {total:g}: make them add up to 1"


def _is_target(target: str | float) -> bool:
    if not isinstance(target, str):
        return target >= 0
    for parse in (Duration.parse, Money.parse, Percentage.parse, float):
        try:
            parse(target)
        except ValueError:
            continue
        return True
    return False


def _previous_versions(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    seen: set[str] = set()
    for at, version in enumerate(spec.rollback.previous_versions):
        path = f"spec.rollback.previousVersions[{at}]"
        if version.text in seen:
            yield f'{path} names "{version}" again: once is enough'
        elif version.text == spec.model.version.text:
            yield f'{path} names "{version}", which is the version asked for: no rollback goes there'
        seen.add(version.text)


def _trigger_units(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    for at, entry in enumerate(spec.rollback.auto_rollback.triggers):
        path = f"spec.rollback.autoRollback.triggers[{at}]"
        pairs = (("errorRate", entry.error_rate), ("latencyP95", entry.latency_p95), ("throughput", entry.throughput))
        if all(trigger is None for _, trigger in pairs):
            yield required(path, f"name one indicator: {', '.join(INDICATORS)}")
        for indicator, trigger in pairs:
            if not isinstance(trigger, Trigger):
                continue
            if (trigger.operator[0] == "<") != (indicator == "throughput"):
                yield f'{path}.{indicator} "{trigger}" asks for a rollback when all is well: turn the operator round'


def _canary_steps(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    weights = [step.weight for step in spec.deployment.canary.steps]
    for at, (before, after) in enumerate(pairwise(weights), start=1):
        if after <= before:
            yield FieldError(
                f"spec.deployment.canary.steps[{at}].weight", after, f"must be more than the step before, {before}"
            )


def _rolling_update_moves(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    update = spec.deployment.rolling_update
    if update.max_surge in (0, "0%") and update.max_unavailable in (0, "0%"):
        yield FieldError(
            "spec.deployment.rollingUpdate.maxSurge",
            update.max_surge,
            "must not be 0 while maxUnavailable is 0: nothing could move",
        )


def _one_disruption_field(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    if spec.disruption.max_unavailable is not None and spec.disruption.min_available is not None:
        yield (
            "spec.disruption has both maxUnavailable and minAvailable, and a PodDisruptionBudget takes one: "
            f"maxUnavailable {spec.disruption.max_unavailable} counts"
        )


def _environment(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    seen: set[str] = set()
    for at, variable in enumerate(spec.runtime.env):
        path = f"spec.runtime.env[{at}]"
        if variable.name in seen:
            yield FieldError(path, variable.name, "is there already: keep one")
        seen.add(variable.name)
        if variable.value is not None and variable.value_from is not None:
            yield FieldError(path, variable.name, "must have value or valueFrom, not both")


def _named_parts(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    lists = (("volumes", spec.volumes), ("volumeMounts", spec.volume_mounts), ("containers", spec.containers))
    for field, parts in lists:
        for at, part in enumerate(parts):
            if not isinstance(part.get("name"), str) or not part["name"]:
                yield required(f"spec.{field}[{at}].name", "give it a name")
    for path, mount in _mounts(spec):
        if not isinstance(mount.get("mountPath"), str) or not mount["mountPath"]:
            yield required(f"{path}.mountPath", "say where to mount it")


def _container_lists(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    for at, container in enumerate(spec.containers):
        for field in ("env", "volumeMounts"):
            items = container.get(field, ())
            if not isinstance(items, list | tuple) or not all(isinstance(item, dict) for item in items):
                allowed = "must be a list of objects" + (", not null: leave it out" if items is None else "")
                yield FieldError(f"spec.containers[{at}].{field}", items, allowed, TYPE_INVALID)


def _mounts(spec: LLMDeploymentSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every volume mount of the pod with its path in the spec."""
    for at, mount in enumerate(spec.volume_mounts):
        yield f"spec.volumeMounts[{at}]", mount
    for at, container in enumerate(spec.containers):
        mounts = container.get("volumeMounts")
        for index, mount in enumerate(mounts if isinstance(mounts, list) else ()):
            if isinstance(mount, dict):
                yield f"spec.containers[{at}].volumeMounts[{index}]", mount


def _mounted_volumes(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    known = {volume.get("name") for volume in spec.volumes if isinstance(volume.get("name"), str)}
    for path, mount in _mounts(spec):
        name = mount.get("name")
        if isinstance(name, str) and name not in known:
            yield FieldError(f"{path}.name", name, "must be the name of one of spec.volumes")


def _user_of_non_root(spec: LLMDeploymentSpec) -> Iterator[Finding]:
    context = spec.security.pod_context()
    if context.get("runAsNonRoot") and context.get("runAsUser") == 0:
        yield FieldError("spec.security.runAsUser", 0, "must not be 0 (root) together with runAsNonRoot")


CHECKS: tuple[Check, ...] = (
    Check(("spec.model.modelUri", "spec.model.name"), _model_has_uri),
    Check(("spec.autoscaling", "spec.replicas"), _replica_bounds),
    Check(("spec.autoscaling", "spec.replicas"), _no_replicas),
    Check(("spec.resources.requests", "spec.resources.limits"), _resource_bounds, tolerant=True, as_written=True),
    Check(("spec.resources.requests", "spec.resources.limits"), _whole_gpus, tolerant=True, as_written=True),
    Check(("spec.resources", "spec.model"), _gpus_for_parallelism),
    Check(("spec.resources", "spec.model"), _weights_fit),
    Check(("spec.model.version", "spec.deployment.stage"), _version_in_production),
    Check(("spec.model.checksums",), _placeholder_checksum),
    Check(("spec.scheduling.scheduler",), _known_scheduler),
    Check(("spec.scheduling.sloPolicy",), _objectives),
    Check(("spec.rollback.previousVersions", "spec.model.version"), _previous_versions),
    Check(("spec.rollback.autoRollback.triggers",), _trigger_units, tolerant=True),
    Check(("spec.deployment.canary",), _canary_steps),
    Check(("spec.deployment.rollingUpdate",), _rolling_update_moves),
    Check(("spec.disruption",), _one_disruption_field),
    Check(("spec.runtime",), _environment),
    Check(("spec.volumes", "spec.volumeMounts", "spec.containers"), _named_parts),
    Check(("spec.containers",), _container_lists),
    Check(("spec.volumes", "spec.volumeMounts", "spec.containers"), _mounted_volumes),
    Check(("spec.security",), _user_of_non_root),
)


def run_checks(
    spec: LLMDeploymentSpec, written: LLMDeploymentSpec, broken: set[str]
) -> tuple[list[FieldError], list[str]]:
    """Errors and warnings of every rule whose fields were readable.

    `written` is the spec before defaults; `broken` holds the paths of what could not be read.
    """
    errors: list[FieldError] = []
    warnings: list[str] = []
    for check in CHECKS:
        if any(_touches(path, need, check.tolerant) for path in broken for need in check.needs):
            continue
        for finding in check.rule(written if check.as_written else spec):
            if isinstance(finding, str):
                warnings.append(finding)
            elif finding.reason != REQUIRED or not any(path.startswith(f"{finding.path}.") for path in broken):
                errors.append(finding)
    return errors, warnings


def _touches(path: str, need: str, tolerant: bool) -> bool:
    """Whether something broken at `path` keeps a rule from reading `need`."""
    if path == need or need.startswith(f"{path}."):
        return True
    if tolerant and re.fullmatch(rf"{re.escape(need)}\[[0-9]+\]", path):
        return True  # of a list with an item that is no object at all, nothing is left
    return not tolerant and path.startswith((f"{need}.", f"{need}["))
