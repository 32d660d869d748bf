"""`outrider explain`: how something came about, told afterwards."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from outrider.api.llmdeployment import LLMDeployment, ReleaseStatus
from outrider.api.modelrevision import ModelRevision
from outrider.cli import release_words as words
from outrider.cli.connection import Cluster, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.objects import service_name
from outrider.cli.output import TableOrData, print_structured, print_table
from outrider.cli.release_report import Seen, look
from outrider.cli.release_story import Story, tell
from outrider.cli.rollout import revisions_of
from outrider.cli.tables import dig
from outrider.kube.api import Api, Forbidden, Object
from outrider.kube.objects import EVENT
from outrider.kube.resources import LLM_DEPLOYMENT

_OUTCOMES = {
    "Undecided": "Not decided yet",
    "TakenBack": "Taken back",
    "Kept": "Kept: it is no worse",
    "NotProven": "Kept, though nothing was proven",
    "Replaced": "Given up for something else",
}
_EVENTS = {
    "some": "Its first events have expired: Kubernetes keeps them for an hour, unless told otherwise.",
    "none": "Its events have expired: Kubernetes keeps them for an hour, unless told otherwise. Status and revisions "
    "tell what is above.",
    "forbidden": "Events may not be read by you. Status and revisions tell what is above.",
}


def explain_release(
    name: str,
    /,
    *,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Tell how the last release over another version went: what happened, what was decided and why, what is next.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    output
        table, json or yaml.
    """
    return asyncio.run(_explain(service_name(name), output, cluster))


async def _explain(name: str, output: TableOrData, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        item = await connection.find(LLM_DEPLOYMENT, name)
        release = _last(item)
        revisions = await revisions_of(connection.api, name, connection.namespace)
        events = await _events(connection.api, item)
        seen = await look(connection.api, item)
    story = tell(seen, release, revisions, events)
    if output in ("json", "yaml"):
        print_structured(_for_programs(seen, release, revisions, story), output)
    else:
        _print(item, release, revisions, story)
    return Exit.OK


def _last(item: LLMDeployment) -> ReleaseStatus:
    if item.status.release is not None:
        return item.status.release
    name = item.metadata.name
    raise CliError(
        f"{name}: nothing was released over another version yet",
        exit_code=Exit.NOT_FOUND,
        hints=(f"see its history:  outrider rollout history {name} --namespace {item.metadata.namespace}",),
    )


async def _events(api: Api, item: LLMDeployment) -> list[Object] | None:
    """The events about an LLMDeployment that are left; None where they may not be read."""
    try:
        listed = await api.list(EVENT.into(dict), item.metadata.namespace)
    except Forbidden:
        return None
    this = (LLM_DEPLOYMENT.kind, item.metadata.name)
    return [one for one in listed.items if (dig(one, "regarding", "kind"), dig(one, "regarding", "name")) == this]


def _for_programs(
    seen: Seen, release: ReleaseStatus, revisions: Sequence[ModelRevision], story: Story
) -> dict[str, Any]:
    known = {one.spec.hash: one for one in revisions}
    return {
        "name": seen.item.metadata.name,
        "namespace": seen.item.metadata.namespace,
        "release": words.told_of(release),
        "candidate": _facts(known.get(release.revision)),
        "stable": _facts(known.get(release.stable_revision)),
        "moments": msgspec.to_builtins(story.moments),
        "eventsLeft": story.events_left,
        "decision": msgspec.to_builtins(story.decision),
        "next": msgspec.to_builtins(story.following),
        "paused": seen.paused,
        "standby": msgspec.to_builtins(seen.standby),
    }


def _facts(revision: ModelRevision | None) -> dict[str, Any] | None:
    """What is known of a revision; None where it is gone."""
    if revision is None:
        return None
    status = revision.status
    return {
        "version": revision.spec.version,
        "revision": revision.spec.sequence,
        "hash": revision.spec.hash,
        "state": status.state,
        "reason": status.reason,
        "message": status.message,
        "firstServed": status.first_served_time,
        "verified": status.verified_time,
        "rolledBack": msgspec.to_builtins(status.rejection),
    }


def _print(item: LLMDeployment, release: ReleaseStatus, revisions: Sequence[ModelRevision], story: Story) -> None:
    numbers = {one.spec.hash: f" (revision {one.spec.sequence}, {one.status.state})" for one in revisions}
    new, old = numbers.get(release.revision, ""), numbers.get(release.stable_revision, "")
    print(f"{item.metadata.name}: {release.version}{new} over {release.stable_version}{old}\n")
    rows = [[one.time, one.source, f"{one.reason}: {one.what}" if one.reason else one.what] for one in story.moments]
    print_table(["TIME", "FROM", "WHAT"], rows)
    if story.events_left in _EVENTS:
        print(_EVENTS[story.events_left])
    headers, counted = words.evidence_table(release)
    print()
    if counted:
        print_table(headers, counted)
        print(f"\n{words.chance_text(release)}")
    else:
        print("Nothing was counted of it.")
    _print_end(story)


def _print_end(story: Story) -> None:
    decision = story.decision
    when = f", {decision.time}" if decision.time else ""
    print(f"\n{_OUTCOMES[decision.outcome]} ({decision.reason}{when})")
    print(f"  {decision.message}")
    if not story.following:
        return
    print("\nNext:")
    for step in story.following:
        print(f"  {step.why}" + (f":  {step.command}" if step.command else ""))
