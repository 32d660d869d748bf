"""What `outrider rollout status` prints, and gives to programs, of the release that is under way or was the last."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from outrider.api.labels import DEPLOYMENT, REVISION
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import Instant, find_condition, parse_time
from outrider.api.names import label_value, revision_name
from outrider.api.spec_operations import STEPWISE
from outrider.cli import release_words as words
from outrider.cli.output import human_age, print_table
from outrider.cli.steering import is_paused
from outrider.kube.api import Api, Forbidden, NotFound, Object
from outrider.kube.objects import POD
from outrider.kube.resources import MODEL_REVISION


class Seen(msgspec.Struct, frozen=True):
    """An LLMDeployment, and what else has to be known of its release."""

    item: LLMDeployment
    now: Instant
    paused: bool = False
    standby: words.Standby | None = None


async def look(api: Api, item: LLMDeployment) -> Seen:
    """Ask for what the status does not say: whether a person holds the release, and what is kept loaded."""
    release, now = item.status.release, time.time()
    if release is None:
        return Seen(item, now)
    paused = False
    if release.phase == "Watching":
        paused = is_paused(release, await _annotations(api, item, release.revision))
    kept = words.standby(item, None, now)
    if kept is not None:
        kept = words.standby(item, await _pods(api, item, release.stable_revision), now)
    return Seen(item, now, paused, kept)


async def _annotations(api: Api, item: LLMDeployment, revision: str) -> dict[str, str]:
    try:
        name = revision_name(item.metadata.name, revision)
        return (await api.get(MODEL_REVISION, name, item.metadata.namespace)).metadata.annotations
    except (NotFound, Forbidden):
        return {}


async def _pods(api: Api, item: LLMDeployment, revision: str) -> Sequence[Object] | None:
    selector = f"{DEPLOYMENT}={label_value(item.metadata.name)},{REVISION}={revision}"
    try:
        return (await api.list(POD.into(dict), item.metadata.namespace, labels=selector)).items
    except Forbidden:
        return None


def for_programs(seen: Seen) -> dict[str, Any]:
    """All that is known of the release."""
    status = seen.item.status
    release = status.release
    return {
        "release": words.told_of(release) if release is not None else None,
        "progress": words.progress(release, seen.now) if release is not None and release.phase == "Watching" else None,
        "paused": seen.paused,
        "traffic": msgspec.to_builtins(status.traffic),
        "previewUrl": words.preview_url(seen.item) or None,
        "standby": msgspec.to_builtins(seen.standby),
        "rollback": msgspec.to_builtins(status.rollback),
    }


def print_release(seen: Seen) -> None:
    """The release that is watched, or was taken back; of one that is over only what is still kept for it."""
    release = seen.item.status.release
    if release is None:
        return
    if release.phase == "Ended":
        if seen.standby is not None:
            print(f"\n{words.standby_text(seen.standby)}")
        return
    began = parse_time(release.started_time)
    since = f", begun {human_age(seen.now - began)} ago" if began is not None else ""
    print(f"\n{release.version} beside {release.stable_version}{since}: {release.verdict} ({release.reason})")
    print(f"  {release.message}")
    if release.phase == "Watching":
        _print_facts(seen)
    headers, rows = words.evidence_table(release)
    if rows:
        print()
        print_table(headers, rows)
        print(f"\n{words.chance_text(release)}")


def print_drill(seen: Seen) -> None:
    """The last drill of going back, where there was one."""
    last = seen.item.status.rollback.last_drill
    if last is not None:
        of = "" if last.outcome == "Running" else f" ({last.version})"
        print(f"\nGoing back: {words.drill_text(last, seen.now)}{of}")


def _print_facts(seen: Seen) -> None:
    facts = facts_of(seen)
    if not facts:
        return
    print()
    for title, value in facts.items():
        print(f"{title + ':':<12}{value}")


def facts_of(seen: Seen) -> dict[str, str]:
    """What there is to say of a release that is under way, by title."""
    item, release = seen.item, seen.item.status.release
    if release is None:
        return {}
    facts = {"Strategy": words.strategy_text(release), "Stage": words.stage_text(release, seen.now)}
    traffic, preview = words.traffic_text(item), words.preview_url(item)
    if traffic:
        facts["Traffic"] = traffic
    if preview:
        facts["Preview"] = f"{preview} answers with {words.version_of(item, _candidate(item))} alone"
    reachable = find_condition(item.status.conditions, "CandidateReachable")
    if reachable is not None and reachable.status != "True":
        facts["Gateway"] = reachable.message
    if seen.paused:
        resume = f"outrider rollout resume {item.metadata.name} --namespace {item.metadata.namespace}"
        facts["Paused"] = f"a person holds it. To go on:  {resume}"
    if release.waits_for and not (seen.paused and release.strategy in STEPWISE):
        facts["Waits for"] = release.waits_for
    if seen.standby is not None:
        facts["Standby"] = words.standby_text(seen.standby)
    return facts


def _candidate(item: LLMDeployment) -> str:
    return item.status.traffic.candidate if item.status.traffic is not None else ""
