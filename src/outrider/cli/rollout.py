"""`outrider rollout status`, `history` and `retry`."""

import asyncio
import time
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from outrider.api.labels import CLI_FIELD_OWNER, DEPLOYMENT, RETRY
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import parse_time
from outrider.api.modelrevision import ModelRevision
from outrider.api.names import label_value
from outrider.cli.connection import Cluster, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.objects import service_name
from outrider.cli.output import TableOrData, WideOrData, human_age, print_structured, print_table
from outrider.cli.release_report import for_programs, look, print_drill, print_release
from outrider.cli.waiting import check_timeout, is_ready, rolled_back, wait_until_ready, what_is_awaited
from outrider.kube.api import Api
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION


def rollout_status(
    name: str,
    /,
    *,
    watch: Annotated[bool, Parameter(alias="-w")] = True,
    timeout: str | None = None,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Wait for a release to end, and say how it ended.

    While it is under way: its step, its share of the traffic, what it waits for, and what was counted of both versions.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    watch
        Wait for the end; with --no-watch say how far it is and return 1 if it is not done.
    timeout
        How long to wait at most. Default: 600s, and what the steps of the release take.
    output
        table, json or yaml.
    """
    check_timeout(timeout)
    return asyncio.run(_rollout_status(service_name(name), watch, timeout, output, cluster))


async def _rollout_status(
    name: str, watch: bool, timeout: str | None, output: TableOrData, cluster: Cluster | None
) -> int:
    async with connect(cluster) as connection:
        item = await connection.find(LLM_DEPLOYMENT, name)
        if watch and not is_ready(item):
            item, _ = await wait_until_ready(
                connection.api, name, connection.namespace, timeout=timeout, lost=rolled_back
            )
        taken_back = rolled_back(item)
        done = is_ready(item) and not taken_back
        seen = await look(connection.api, item)
    if output in ("json", "yaml"):
        print_structured(
            {
                "name": name,
                "done": done,
                "version": item.status.effective_version,
                "ready": item.status.ready,
                "phase": item.status.phase,
                "rolledBack": taken_back,
                **for_programs(seen),
            },
            output,
        )
        return Exit.OK if done else Exit.FAILED
    if taken_back:
        print(f"{name}: {taken_back}")
    elif done:
        print(f"{name}: version {item.status.effective_version} is rolled out, {item.status.ready} replicas ready")
    else:
        print(what_is_awaited(item))
    print_release(seen)
    print_drill(seen)
    return Exit.OK if done else Exit.FAILED


def rollout_history(
    name: str,
    /,
    *,
    output: Annotated[WideOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """List the revisions of a service, newest first. REVISION is what `rollback --to` takes, as are VERSION and HASH.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    output
        table, wide (also when and why each was rolled back), json or yaml.
    """
    return asyncio.run(_rollout_history(service_name(name), output, cluster))


def rollout_retry(
    name: str,
    /,
    *,
    wait: bool = True,
    timeout: str | None = None,
    dry_run: bool = False,
    cluster: Cluster | None = None,
) -> int:
    """Release the version in the spec again, although it was rolled back by itself or aborted.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    wait
        Wait until the version serves, or is rolled back again.
    timeout
        How long to wait at most. Default: 600s, and what the steps of the release take.
    dry_run
        Say what would be released again, and change nothing.
    """
    check_timeout(timeout)
    return asyncio.run(_rollout_retry(service_name(name), wait, timeout, dry_run, cluster))


async def _rollout_retry(name: str, wait: bool, timeout: str | None, dry_run: bool, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        item = await connection.find(LLM_DEPLOYMENT, name)
        found = rejected_revision(item, await revisions_of(connection.api, name, connection.namespace))
        rejection = found.status.rejection
        assert rejection is not None, "it was rejected"
        print(
            f"{name}: {found.spec.version} (revision {found.spec.sequence}) was rolled back at {rejection.time} "
            f"({rejection.reason}: {rejection.message}); it is released again{' (dry run)' if dry_run else ''}",
            flush=True,
        )
        patch = {"metadata": {"uid": found.metadata.uid, "annotations": {RETRY: rejection.time}}}
        await connection.api.patch(
            MODEL_REVISION, found.metadata.name, patch, connection.namespace, owner=CLI_FIELD_OWNER, dry_run=dry_run
        )
        if wait and not dry_run:
            wanted, tried = found.spec.hash, False

            def lost(now: LLMDeployment) -> str:
                nonlocal tried
                tried = tried or now.status.effective_revision == wanted
                return rolled_back(now) if tried else ""

            await wait_until_ready(
                connection.api, name, connection.namespace, timeout=timeout, lost=lost,
                also=lambda now: now.status.effective_revision == wanted,
            )  # fmt: skip
    return Exit.OK


def rejected_revision(item: LLMDeployment, revisions: list[ModelRevision]) -> ModelRevision:
    """The revision that the spec asks for, which was rolled back by itself.

    Raises:
        CliError: it was not, or a pin decides what is served.
    """
    name, status = item.metadata.name, item.status
    found = next((one for one in revisions if one.spec.hash == status.desired_revision), None)
    rejection = found.status.rejection if found is not None else None
    if found is None or rejection is None or rejection.lifted:
        raise CliError(
            f"{name}: {status.desired_version}, which the spec asks for, was not rolled back by itself",
            exit_code=Exit.CONFLICT,
            hints=(f"see its history:  outrider rollout history {name} --namespace {item.metadata.namespace}",),
        )
    if status.pinned:
        raise CliError(
            f"{name} is pinned to {status.effective_version}",
            exit_code=Exit.CONFLICT,
            hints=(f"lift the pin first:  outrider unpin {name} --namespace {item.metadata.namespace}",),
        )
    return found


async def revisions_of(api: Api, name: str, namespace: str) -> list[ModelRevision]:
    """The revisions of an LLMDeployment, newest first."""
    listed = await api.list(MODEL_REVISION, namespace, labels=f"{DEPLOYMENT}={label_value(name)}")
    return sorted(listed.items, key=lambda revision: -revision.spec.sequence)


async def _rollout_history(name: str, output: WideOrData, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        item = await connection.find(LLM_DEPLOYMENT, name)
        revisions = await revisions_of(connection.api, name, connection.namespace)
    entries = [_entry(revision, item.status.effective_revision) for revision in revisions]
    if output in ("json", "yaml"):
        print_structured(entries, output)
        return Exit.OK
    headers = ["REVISION", "VERSION", "STATE", "CURRENT", "FIRST-SERVED", "HASH"]
    table = [
        [
            str(entry["revision"]),
            entry["version"],
            entry["state"] + (f" ({entry['reason']})" if entry["reason"] else ""),
            "yes" if entry["current"] else "no",
            _ago(entry["firstServed"]),
            entry["hash"],
            *([entry["image"], entry["quantization"] or "-", *_rejected(entry)] if output == "wide" else []),
        ]
        for entry in entries
    ]
    wide = ["IMAGE", "QUANTIZATION", "ROLLED-BACK", "WHY"] if output == "wide" else []
    print_table(headers + wide, table)
    return Exit.OK


def _rejected(entry: dict[str, Any]) -> tuple[str, str]:
    """When a revision was rolled back, and why."""
    found = entry["rolledBack"]
    if found is None:
        return ("", entry["message"])
    lifted = "; asked for anew since" if found["lifted"] else ""
    return (_ago(found["time"]), f"{found['reason']}: {found['message']}{lifted}")


def _entry(revision: ModelRevision, current: str) -> dict[str, Any]:
    rejection = revision.status.rejection
    return {
        "revision": revision.spec.sequence,
        "version": revision.spec.version,
        "hash": revision.spec.hash,
        "state": revision.status.state,
        "reason": revision.status.reason if revision.status.state == "Quarantined" else "",
        "message": revision.status.message if revision.status.state == "Quarantined" else "",
        "rolledBack": None if rejection is None else msgspec.to_builtins(rejection),
        "current": revision.spec.hash == current,
        "firstServed": revision.status.first_served_time,
        "image": revision.spec.image,
        "quantization": revision.spec.quantization,
        "args": list(revision.spec.args),
    }


def _ago(text: str | None) -> str:
    when = parse_time(text)
    return "never" if when is None else f"{human_age(time.time() - when)} ago"
