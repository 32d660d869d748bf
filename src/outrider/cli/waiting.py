"""Waiting for an LLMDeployment to become what was asked for, and saying meanwhile what is awaited."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from outrider.api.duration import Duration
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import find_condition
from outrider.cli.errors import CliError, Exit
from outrider.cli.progress import Progress
from outrider.kube.api import Api, Expired, Kind, NotFound, Unavailable
from outrider.kube.resources import LLM_DEPLOYMENT

T = TypeVar("T")

RELEASE_SECONDS = 600.0
"""For which people wait for a release who have not said how long: the progress deadline of a Deployment."""
_RETRY_SECONDS = 1.0
_TICK_SECONDS = 0.5


def seconds(text: str, option: str) -> float:
    """A duration given on the command line, in seconds.

    Raises:
        CliError: it is no duration.
    """
    try:
        return Duration.parse(text).seconds
    except ValueError as error:
        raise CliError(f"{option} {text}: {error}", exit_code=Exit.USAGE) from error


def check_timeout(timeout: str | None) -> None:
    """Refuse a --timeout that is no duration before anything is changed. Raises CliError."""
    if timeout is not None:
        seconds(timeout, "--timeout")


async def follow(
    api: Api, kind: Kind[T], name: str, namespace: str, *, lost: Callable[[Unavailable], None] = lambda _: None
) -> AsyncIterator[T | None]:
    """The object as it is, then every later state of it; None while it does not exist.

    Goes on through dropped connections and restarts of the server, however long they take; `lost` is told of each.
    """
    selector = f"metadata.name={name}"
    while True:
        try:
            listed = await api.list(kind, namespace, fields=selector)
            yield listed.items[0] if listed.items else None
            events = api.watch(kind, namespace, fields=selector, resource_version=listed.resource_version)
            async with contextlib.aclosing(events) as stream:  # type: ignore[type-var]
                async for event in stream:
                    if event.type != "BOOKMARK":
                        yield None if event.type == "DELETED" else event.object
        except Expired:
            continue
        except Unavailable as error:
            lost(error)
            await asyncio.sleep(_RETRY_SECONDS)


def is_ready(item: LLMDeployment) -> bool:
    """Whether the operator says Ready of the very spec that the object has now."""
    ready = find_condition(item.status.conditions, "Ready")
    return (
        ready is not None
        and ready.status == "True"
        and item.status.observed_generation >= item.metadata.generation
        and ready.observed_generation >= item.metadata.generation
    )


def rolled_back(item: LLMDeployment) -> str:
    """Why the version that the spec asks for is not served: it was rolled back by itself. Empty where it was not."""
    found = find_condition(item.status.conditions, "RolledBack")
    seen = found is not None and found.observed_generation >= item.metadata.generation
    return found.message if found is not None and seen else ""


def what_is_awaited(item: LLMDeployment) -> str:
    """The one sentence that says how far it is and what it waits for."""
    status = item.status
    ready = find_condition(status.conditions, "Ready")
    capacity = find_condition(status.conditions, "CapacityAvailable")
    if status.observed_generation < item.metadata.generation:
        reason = "the operator has not seen the new spec yet"
    elif capacity is not None and capacity.status == "False":
        reason = capacity.message
    else:
        reason = ready.message if ready is not None and ready.message else "no word from the operator yet"
    return f"{item.metadata.name} {status.effective_version}: {status.ready} ready, {status.phase}: {reason}"


def patience(item: LLMDeployment) -> float:
    """For how many seconds to wait for this release where nobody has said so: what its steps take comes on top."""
    from outrider.controllers.deployment.gather import parse_deployment
    from outrider.plan.deployment.fleet import steps_of

    spec = parse_deployment(item).spec
    return RELEASE_SECONDS + sum(step.seconds for step in steps_of(spec)) if spec is not None else RELEASE_SECONDS


async def wait_until_ready(
    api: Api,
    name: str,
    namespace: str,
    *,
    timeout: str | None,
    also: Callable[[LLMDeployment], bool] = lambda _: True,
    lost: Callable[[LLMDeployment], str] = lambda _: "",
    quiet: bool = False,
) -> tuple[LLMDeployment, float]:
    """Wait until the LLMDeployment is Ready and `also` holds; returns it and the seconds it took. `lost` says why there
    is nothing to wait for any more; empty text while there is.

    Raises:
        CliError: it did not happen in time, is lost, its spec is invalid, or the object does not exist; says what was
            awaited.
    """

    def reached(item: LLMDeployment) -> str:
        return f"{name} {item.status.effective_version} is Ready" if is_ready(item) and also(item) else ""

    def lost_or_invalid(item: LLMDeployment) -> str:
        _refuse_invalid(item)
        return lost(item)

    return await wait_until(api, name, namespace, timeout=timeout, reached=reached, lost=lost_or_invalid, quiet=quiet)


async def wait_until(
    api: Api,
    name: str,
    namespace: str,
    *,
    timeout: str | None,
    reached: Callable[[LLMDeployment], str],
    lost: Callable[[LLMDeployment], str],
    quiet: bool = False,
    awaited: Callable[[LLMDeployment], str] = what_is_awaited,
    left: str = "",
) -> tuple[LLMDeployment, float]:
    """Wait until `reached` says in words that the LLMDeployment is what is waited for; else as `wait_until_ready`.

    Without a `timeout` it waits as long as `patience` says. `awaited` says how far it is; `left` what becomes of it
    when nobody waits any more: by default it goes on.
    """
    limit = seconds(timeout, "--timeout") if timeout is not None else RELEASE_SECONDS
    began = asyncio.get_running_loop().time()
    sight = _Sight(name, awaited)
    with Progress(quiet=quiet) as progress:
        ticker = asyncio.create_task(_tick(progress, sight.sentence))
        try:
            async with asyncio.timeout(limit) as deadline:
                async for item in follow(api, LLM_DEPLOYMENT, name, namespace, lost=sight.lost):
                    if item is None:
                        raise NotFound(f'llmdeployments.inference.llm-d.io "{name}" not found in namespace {namespace}')
                    sight.seen(item)
                    if timeout is None:
                        limit = patience(item)
                        deadline.reschedule(began + limit)
                    if why := lost(item):
                        raise CliError(f"{name}: {why}", exit_code=Exit.FAILED)
                    if told := reached(item):
                        progress.done(f"{told} ({progress.elapsed:.1f} s)")
                        return item, progress.elapsed
        except TimeoutError:
            raise CliError(
                f"timed out after {timeout or f'{limit:.0f}s'} waiting for {name}: {sight.sentence()}",
                exit_code=Exit.UNREACHABLE if sight.outage else Exit.TIMED_OUT,
                hints=(f"see why:  outrider describe llmdeployment {name} --namespace {namespace}",),
            ) from None
        except asyncio.CancelledError:
            follow_up = f"outrider rollout status {name} --namespace {namespace}"
            progress.done(f"no longer waiting; {left or f'it goes on by itself. Follow it:  {follow_up}'}")
            raise
        finally:
            ticker.cancel()
    raise AssertionError("follow() never ends")


class _Sight:
    """What was last seen of an LLMDeployment, or why it cannot be seen: an old sight must not pass for the present."""

    def __init__(self, name: str, awaited: Callable[[LLMDeployment], str]) -> None:
        self._name = name
        self._awaited = awaited
        self._item: LLMDeployment | None = None
        self.outage = ""

    def seen(self, item: LLMDeployment) -> None:
        self._item = item
        self.outage = ""

    def lost(self, error: Unavailable) -> None:
        self.outage = error.message

    def sentence(self) -> str:
        if self.outage:
            return f"{self._name}: nothing is known of it now, trying again: {self.outage}"
        return self._awaited(self._item) if self._item is not None else f"looking for {self._name}"


def _refuse_invalid(item: LLMDeployment) -> None:
    valid = find_condition(item.status.conditions, "SpecValid")
    if valid is not None and valid.status == "False" and valid.observed_generation >= item.metadata.generation:
        raise CliError(f"{item.metadata.name}: the spec is invalid: {valid.message}", exit_code=Exit.INVALID)


async def wait_until_gone(api: Api, kind: Kind[Any], name: str, namespace: str, *, timeout: str) -> float:
    """Wait until the object no longer exists; returns the seconds it took."""
    limit = seconds(timeout, "--timeout")
    with Progress() as progress:
        ticker = asyncio.create_task(_tick(progress, lambda: f"waiting for {kind.singular} {name} to be gone"))
        try:
            async with asyncio.timeout(limit):
                async for item in follow(api, kind.into(dict), name, namespace):
                    if item is None:
                        return progress.elapsed
        except TimeoutError:
            raise CliError(
                f"timed out after {timeout}: {kind.singular} {name} is still there", exit_code=Exit.TIMED_OUT
            ) from None
        finally:
            ticker.cancel()
    raise AssertionError("follow() never ends")


async def _tick(progress: Progress, message: Callable[[], str]) -> None:
    while True:
        progress.show(message())
        await asyncio.sleep(_TICK_SECONDS)
