"""What people may ask of a release that is under way, when that makes no sense, and how it is written down.

Each wish is an annotation of the candidate's ModelRevision that names the release which it means. So it is about that
very release, whatever begins meanwhile.
"""

from collections.abc import Callable, Mapping

import msgspec

from outrider.api.labels import ABORT_RELEASE, PAUSE_RELEASE, PROMOTE_RELEASE, SKIP_STEP
from outrider.api.llmdeployment import LLMDeployment, ReleaseStatus
from outrider.api.modelrevision import ModelRevision
from outrider.api.spec_operations import STEPWISE
from outrider.cli.errors import CliError, Exit
from outrider.cli.waiting import is_ready


class Order(msgspec.Struct, frozen=True):
    """What is to be written, and what to tell about it."""

    told: str
    annotations: dict[str, str | None] = {}
    """Of the candidate's ModelRevision; None: to be removed. Empty: it was asked for already, nothing is written."""
    notes: tuple[str, ...] = ()
    """What else the user should know."""


Judge = Callable[[LLMDeployment, ReleaseStatus, ModelRevision], Order]
"""Decides on a wish about the release that is under way, or refuses it with a CliError."""


def under_way(item: LLMDeployment) -> ReleaseStatus:
    """The release that is under way.

    Raises:
        CliError: none is; says how the last one ended.
    """
    name, release = item.metadata.name, item.status.release
    if release is not None and release.phase == "Watching" and release.started_time:
        return release
    message = f"{name}: no release over another version is under way"
    if release is not None:
        how = "was rolled back" if release.phase == "RolledBack" else "is over"
        message += f"; the last one, {release.version} over {release.stable_version}, {how}"
    raise CliError(
        message,
        exit_code=Exit.CONFLICT,
        hints=(
            f"see what serves:      {_command('status', item)}",
            f"to another version:   {_command('rollback', item)}",
        ),
    )


def is_paused(release: ReleaseStatus | None, annotations: Mapping[str, str]) -> bool:
    """Whether somebody holds this very release."""
    return release is not None and _says(annotations, PAUSE_RELEASE, release.started_time)


def _says(annotations: Mapping[str, str], key: str, value: str) -> bool:
    return bool(value) and annotations.get(key) == value


def pause(item: LLMDeployment, release: ReleaseStatus, candidate: ModelRevision) -> Order:
    """Hold the release where it is."""
    what = f"{item.metadata.name}: the release of {_candidate(candidate)} over {release.stable_version}"
    if is_paused(release, candidate.metadata.annotations):
        return Order(f"{what} is paused already{_place(release)}")
    if not _can_be_held(item, release):
        raise _refused(
            f"{item.metadata.name}: {release.version} takes all traffic already: there is nothing left to pause",
            f"take it back:  {_command('rollout abort', item)}",
        )
    return Order(
        f"{what} is paused{_place(release)}",
        {PAUSE_RELEASE: release.started_time},
        (f"It is still watched, and taken back if it is worse. To go on:  {_command('rollout resume', item)}",),
    )


def _can_be_held(item: LLMDeployment, release: ReleaseStatus) -> bool:
    if release.strategy in STEPWISE:
        return release.stage in ("Canary", "Preview")
    return not (is_ready(item) and item.status.effective_revision == release.revision)


def resume(item: LLMDeployment, release: ReleaseStatus, candidate: ModelRevision) -> Order:
    """Let the release go on."""
    what = f"{item.metadata.name}: the release of {_candidate(candidate)} over {release.stable_version}"
    if not is_paused(release, candidate.metadata.annotations):
        return Order(f"{what} is not paused")
    return Order(f"{what} goes on{_place(release)}", {PAUSE_RELEASE: None})


def promote(item: LLMDeployment, release: ReleaseStatus, candidate: ModelRevision) -> Order:
    """Give the candidate all traffic, without the steps that are left."""
    _refuse_without_steps(item, release, "promote")
    name, said = item.metadata.name, candidate.metadata.annotations
    if _says(said, PROMOTE_RELEASE, release.started_time):
        return Order(f"{name}: {_candidate(candidate)} was promoted already")
    told = f"{name}: {_candidate(candidate)} takes all traffic, as soon as all of its replicas are ready"
    against = release.verdict not in ("Watching", "Good")
    return Order(
        told,
        {PROMOTE_RELEASE: release.started_time, **_lifted(release, said)},
        (f"The evidence does not speak for it ({release.reason}): {release.message}",) if against else (),
    )


def skip(item: LLMDeployment, release: ReleaseStatus, candidate: ModelRevision) -> Order:
    """End the present step."""
    _refuse_without_steps(item, release, "skip")
    name, said = item.metadata.name, candidate.metadata.annotations
    wanted = f"{release.started_time}/{release.step}"
    following = release.step + 1
    then = f"{release.steps[following].weight} % of the traffic" if following < len(release.steps) else "all traffic"
    told = f"{name}: step {following} of {len(release.steps)} of {_candidate(candidate)}"
    if is_paused(release, said):
        raise _refused(
            f"{name}: the release of {release.version} is paused, and a step ends only while it is not",
            f"let it go on:           {_command('rollout resume', item)}",
            f"or leave no step to do: {_command('rollout promote', item)}",
        )
    if _says(said, SKIP_STEP, wanted):
        return Order(f"{told} was skipped already; next is {then}")
    notes = [] if release.step_since else ["It ends once its replicas are ready."]
    if release.verdict not in ("Watching", "Good"):
        notes.append(f"It ends only once the evidence allows it ({release.reason}): {release.message}")
    return Order(f"{told} ends; next is {then}", {SKIP_STEP: wanted}, tuple(notes))


def abort(item: LLMDeployment, release: ReleaseStatus, candidate: ModelRevision) -> Order:
    """Take the candidate back."""
    name, said = item.metadata.name, candidate.metadata.annotations
    if _says(said, ABORT_RELEASE, release.started_time):
        return Order(f"{name}: the release of {_candidate(candidate)} was aborted already")
    again = f"It is not released again until:  {_command('rollout retry', item)}"
    told = f"{name}: {_candidate(candidate)} is taken back; {release.stable_version} takes its place"
    return Order(told, {ABORT_RELEASE: release.started_time, **_lifted(release, said)}, (again,))


def _lifted(release: ReleaseStatus, said: Mapping[str, str]) -> dict[str, str | None]:
    """A pause goes with the wish that ends what was paused: both at once would contradict each other."""
    return {PAUSE_RELEASE: None} if is_paused(release, said) else {}


def _refuse_without_steps(item: LLMDeployment, release: ReleaseStatus, verb: str) -> None:
    name = item.metadata.name
    if release.strategy not in STEPWISE:
        raise _refused(
            f"{name}: the release of {release.version} has no steps: its strategy is {release.strategy}. "
            f"There is nothing to {verb}",
            f"hold it:       {_command('rollout pause', item)}",
            f"take it back:  {_command('rollout abort', item)}",
        )
    if release.stage not in ("Canary", "Preview") or release.step >= len(release.steps):
        raise _refused(
            f"{name}: all steps of the release of {release.version} are done. There is nothing to {verb}",
            f"see how it fares:  {_command('rollout status', item)}",
            f"take it back:      {_command('rollout abort', item)}",
        )


def _refused(message: str, *hints: str) -> CliError:
    return CliError(message, exit_code=Exit.CONFLICT, hints=hints)


def _command(verb: str, item: LLMDeployment) -> str:
    return f"outrider {verb} {item.metadata.name} --namespace {item.metadata.namespace}"


def _candidate(candidate: ModelRevision) -> str:
    return f"{candidate.spec.version} (revision {candidate.spec.sequence})"


def _place(release: ReleaseStatus) -> str:
    if release.stage == "Preview":
        return " in its preview, without traffic"
    if release.stage == "Canary" and release.step < len(release.steps):
        return f" at step {release.step + 1} of {len(release.steps)}, with {release.weight} % of the traffic"
    return ""


def has_all_traffic(item: LLMDeployment, revision: str) -> bool:
    """Whether every request goes to the revision; where the status does not say, whether it is rolled out."""
    traffic = item.status.traffic
    if traffic is None:
        return is_ready(item) and item.status.effective_revision == revision
    if traffic.candidate and traffic.weight:
        return traffic.candidate == revision and traffic.weight == 100
    return traffic.revision == revision


def why_never_promoted(item: LLMDeployment, asked: ReleaseStatus) -> str:
    """Why there is no waiting any more for the candidate to take all traffic; empty while there is."""
    now = item.status.release
    if now is None or now.started_time != asked.started_time:
        return f"the release of {asked.version} is over: {item.status.effective_version} was asked for instead"
    if now.phase == "RolledBack":
        return f"{asked.version} was rolled back ({now.reason}): {now.message}"
    if now.phase == "Ended" and item.status.effective_revision != asked.revision:
        return f"the release of {asked.version} is over: {item.status.effective_version} was asked for instead"
    return ""


def is_taken_back(item: LLMDeployment, asked: ReleaseStatus) -> bool:
    """Whether the release was rolled back, and the stable version has all traffic again."""
    now = item.status.release
    same = now is not None and (now.started_time, now.phase) == (asked.started_time, "RolledBack")
    return same and has_all_traffic(item, asked.stable_revision)


def why_never_taken_back(item: LLMDeployment, asked: ReleaseStatus) -> str:
    """Why there is no waiting any more for the stable version to have its traffic back; empty while there is."""
    now = item.status.release
    if now is None or now.started_time != asked.started_time or now.phase == "Ended":
        return f"the release of {asked.version} was over before it was aborted; {item.status.effective_version} serves"
    return ""
