"""`outrider rollback --drill`: prove that the version before would come back, without going back to it.

The request is an annotation of the ModelRevision, and its end is told in `status.rollback.lastDrill`. So nothing of it
is Git's, and whoever has gone away finds out later what came of it.
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from outrider.api.labels import CLI_FIELD_OWNER, DRILL
from outrider.api.llmdeployment import DrillStatus, LLMDeployment
from outrider.api.meta import Instant, find_condition, format_time, parse_time
from outrider.api.modelrevision import ModelRevision
from outrider.cli.connection import Cluster, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.output import TableOrData, print_structured
from outrider.cli.release_words import readiness_text
from outrider.cli.rollout import revisions_of
from outrider.cli.waiting import is_ready, wait_until, what_is_awaited
from outrider.kube.api import Api
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION

_ENDS = {
    "Passed": "would come back",
    "Failed": "would not come back",
    "NotPossible": "could not be drilled",
    "Interrupted": "was not drilled to the end",
}


class Order(msgspec.Struct, frozen=True):
    """What the command line asks for."""

    name: str
    wait: bool
    timeout: str
    """How long to wait at most: a duration."""
    dry_run: bool
    output: TableOrData


async def begin(order: Order, target: ModelRevision, item: LLMDeployment, api: Api) -> int:
    """Ask for a drill of `target`, or follow the one that runs; wait for its end, and say what came of it.

    Raises:
        CliError: it makes no sense now, did not pass, or did not end in time.
    """
    running = last_of(item)
    if running is not None and running.outcome == "Running" and running.revision == target.spec.hash:
        requested, changed = running.requested_at, False
    else:
        refuse(item, target)
        revisions = await revisions_of(api, order.name, item.metadata.namespace)
        requested, changed = next_request(item, revisions, time.time()), not order.dry_run
        await _annotate(api, target, requested, dry_run=order.dry_run)
    if order.output == "table":
        how = "a drill of it runs already" if not (changed or order.dry_run) else _readiness(item, target)
        print(f"{order.name}: drill of {target.spec.version} (revision {target.spec.sequence}, {how})", flush=True)
    ended = await _wait(api, order, target, requested) if order.wait and not order.dry_run else None
    return _tell(order, item, target, requested, ended)


def _readiness(item: LLMDeployment, target: ModelRevision) -> str:
    rollback = item.status.rollback
    told = readiness_text(rollback) if rollback.target_revision == target.spec.hash else ""
    return told or target.status.state


def last_of(item: LLMDeployment) -> DrillStatus | None:
    return item.status.rollback.last_drill


def refuse(item: LLMDeployment, target: ModelRevision) -> None:
    """Refuse what the operator would not begin, as far as the status tells.

    Raises:
        CliError: a release is under way, the version serves, nothing is wanted, the spec is invalid, or another drill
            runs.
    """
    name, status, last = item.metadata.name, item.status, last_of(item)
    progressing, valid = (find_condition(status.conditions, kind) for kind in ("Progressing", "SpecValid"))
    release = status.release
    by_steps = release is not None and release.phase == "Watching" and release.stage in ("Trial", "Canary", "Preview")
    if target.spec.hash == status.effective_revision:
        raise CliError(f"{name}: {target.spec.version} is what serves: there is no way back", exit_code=Exit.CONFLICT)
    if valid is not None and valid.status == "False":
        raise CliError(f"{name}: the spec is invalid, and that comes first: {valid.message}", exit_code=Exit.INVALID)
    if status.phase == "Suspended":
        raise CliError(f"{name}: no replica is wanted, so nothing would come back", exit_code=Exit.CONFLICT)
    if by_steps or (not is_ready(item) and progressing is not None and progressing.status == "True"):
        raise CliError(
            f"a release is under way: {what_is_awaited(item)}",
            exit_code=Exit.CONFLICT,
            hints=(f"wait for its end:  outrider rollout status {_which(item)}",),
        )
    if last is not None and last.outcome == "Running":
        raise CliError(
            f"{name}: a drill of {last.version} is under way",
            exit_code=Exit.CONFLICT,
            hints=(f"end it:  {_command(item)} --cancel",),
        )


def next_request(item: LLMDeployment, revisions: Sequence[ModelRevision], now: Instant) -> str:
    """The time that names a new drill: now, and later than every other that was asked for, whatever the clocks say."""
    last = last_of(item)
    asked = [one.metadata.annotations.get(DRILL) for one in revisions] + [last.requested_at if last else None]
    known = [moment for one in asked if (moment := parse_time(one)) is not None]
    return format_time(max(now, *(moment + 1.0 for moment in known)) if known else now)


async def _annotate(api: Api, target: ModelRevision, value: str | None, *, dry_run: bool) -> None:
    metadata = target.metadata
    patch = {"metadata": {"uid": metadata.uid, "annotations": {DRILL: value}}}
    await api.patch(MODEL_REVISION, metadata.name, patch, metadata.namespace, owner=CLI_FIELD_OWNER, dry_run=dry_run)


async def _wait(api: Api, order: Order, target: ModelRevision, requested: str) -> DrillStatus:
    def this(item: LLMDeployment) -> DrillStatus | None:
        found = last_of(item)
        return found if found is not None and found.requested_at == requested else None

    def reached(item: LLMDeployment) -> str:
        found = this(item)
        ended = found is not None and found.outcome != "Running"
        return f"{order.name}: the drill of {target.spec.version} has ended" if ended else ""

    def lost(item: LLMDeployment) -> str:
        found = last_of(item)
        newer = found is not None and (parse_time(found.requested_at) or 0.0) > (parse_time(requested) or 0.0)
        return "another drill was asked for meanwhile" if newer else ""

    def awaited(item: LLMDeployment) -> str:
        found = this(item)
        told = found.message if found is not None else "the operator has not begun it yet"
        return f"{order.name}: drill of {target.spec.version}: {told}"

    namespace, command = target.metadata.namespace, f"outrider rollback {order.name} --drill"
    where = f"--namespace {namespace}"
    item, _ = await wait_until(
        api,
        order.name,
        namespace,
        timeout=order.timeout,
        reached=reached,
        lost=lost,
        quiet=order.output != "table",
        awaited=awaited,
        left=f"the drill goes on by itself. Follow it:  outrider rollout status {order.name} {where}\n"
        f"end it:  {command} --cancel {where}",
    )
    found = this(item)
    assert found is not None, "it was reached"
    return found


def _tell(order: Order, item: LLMDeployment, target: ModelRevision, requested: str, ended: DrillStatus | None) -> int:
    passed = ended is None or ended.outcome == "Passed"
    if order.output != "table":
        print_structured(result(order, target, requested, ended), order.output)
        return Exit.OK if passed else Exit.FAILED
    if order.dry_run:
        print("dry run: nothing was changed")
    elif ended is None:
        print(f"asked for. Follow it:  outrider rollout status {_which(item)}")
    elif passed:
        print(f"{target.spec.version} {_ENDS[ended.outcome]}: {ended.message}")
    else:
        raise CliError(
            f"{order.name}: {target.spec.version} {_ENDS[ended.outcome]} ({ended.reason}): {ended.message}",
            exit_code=Exit.FAILED,
            hints=(f"see its events:  outrider describe llmdeployment {_which(item)}",),
        )
    return Exit.OK


def result(order: Order, target: ModelRevision, requested: str, ended: DrillStatus | None) -> dict[str, Any]:
    """What programs are told. `outcome` is null where nobody waited."""
    return {
        "name": order.name,
        "version": target.spec.version,
        "revision": target.spec.sequence,
        "hash": target.spec.hash,
        "requestedAt": requested,
        "outcome": ended.outcome if ended is not None else None,
        "reason": ended.reason if ended is not None else None,
        "seconds": ended.seconds if ended is not None else None,
        "message": ended.message if ended is not None else None,
        "dryRun": order.dry_run,
    }


async def cancel(order: Order, cluster: Cluster | None) -> int:
    """Call off the drill that is under way, or was asked for and is not begun.

    Raises:
        CliError: there is none.
    """
    async with connect(cluster) as connection:
        item = await connection.find(LLM_DEPLOYMENT, order.name)
        target = pending(item, await revisions_of(connection.api, order.name, connection.namespace))
        await _annotate(connection.api, target, None, dry_run=order.dry_run)
    if order.output == "table":
        dry = " (dry run)" if order.dry_run else ""
        print(f"{order.name}: the drill of {target.spec.version} is called off{dry}")
    else:
        requested = target.metadata.annotations.get(DRILL, "")
        print_structured(result(order, target, requested, None) | {"cancelled": not order.dry_run}, order.output)
    return Exit.OK


def pending(item: LLMDeployment, revisions: Sequence[ModelRevision]) -> ModelRevision:
    """The revision of the drill that is under way, or is still to be begun.

    Raises:
        CliError: there is none.
    """
    last = last_of(item)
    done = (parse_time(last.requested_at) or 0.0) if last is not None else 0.0
    for one in revisions:
        asked = one.metadata.annotations.get(DRILL)
        runs = last is not None and last.outcome == "Running" and last.requested_at == asked
        if asked and (runs or (parse_time(asked) or 0.0) > done):
            return one
    raise CliError(
        f"{item.metadata.name}: no drill is under way",
        exit_code=Exit.CONFLICT,
        hints=(f"see the last one:  outrider rollout status {_which(item)}",),
    )


def _command(item: LLMDeployment) -> str:
    return f"outrider rollback {_which(item)} --drill"


def _which(item: LLMDeployment) -> str:
    return f"{item.metadata.name} --namespace {item.metadata.namespace}"
