"""Objects brought into a cluster: first asked about, all of them, then applied, each with what it changes."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from outrider.cli.errors import CliError, all_of, as_cli_error
from outrider.cli.install.difference import Field, differences
from outrider.cli.install.found import FIELD_OWNER, Found, instance_selector
from outrider.cli.progress import Progress
from outrider.kube.api import Api, ApiError, Conflict, Forbidden, Kind, NotFound, Object, Unavailable
from outrider.kube.installed import CUSTOM_RESOURCE_DEFINITION, OPERATOR_KINDS, installed_kind
from outrider.kube.objects import SERVICE_MONITOR

_FIELDS_SHOWN = 12
_ESTABLISHED_SECONDS = 60.0
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 1.0
"""What takes no longer than this is done without a word."""

Verb = Literal["created", "changed", "unchanged", "removed"]


@dataclass(frozen=True)
class Change:
    """One object, and what becomes of it."""

    kind: Kind[Any]
    name: str
    namespace: str
    verb: Verb
    fields: tuple[Field, ...] = ()
    body: Object | None = None
    """What is applied; None for an object that goes."""

    @property
    def label(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind.singular}/{self.name}{where}"


async def ask(api: Api, bodies: Sequence[Object], found: Found, *, force_conflicts: bool) -> list[Change]:
    """What applying these objects would change, by the API server's own word, without changing anything.

    Raises:
        CliError: it refuses some of them; all refusals are told.
    """
    changes, refused = [], []
    with Progress() as progress:
        for body in bodies:
            _tell(progress, f"asking the API server about {len(bodies)} objects")
            try:
                changes.append(await _ask_one(api, body, found, force_conflicts=force_conflicts))
            except Unavailable:
                raise
            except ApiError as error:
                refused.append(_refusal(body, error))
    if refused:
        raise all_of(refused, f"of {len(bodies)} objects")
    return changes


async def _ask_one(api: Api, body: Object, found: Found, *, force_conflicts: bool) -> Change:
    kind = installed_kind(body)
    name, namespace = body["metadata"]["name"], body["metadata"].get("namespace", "")
    try:
        before = await api.get(kind, name, namespace)
    except NotFound:
        before = None
    if namespace == found.namespace and not found.namespace_exists:
        # Nothing can be asked about a namespace that is only about to be.
        return Change(kind, name, namespace, "created", body=body)
    after = await api.apply(kind, body, owner=FIELD_OWNER, force=force_conflicts, dry_run=True)
    if before is None:
        return Change(kind, name, namespace, "created", body=body)
    fields = tuple(differences(before, after))
    return Change(kind, name, namespace, "changed" if fields else "unchanged", fields, body)


def _refusal(body: Object, error: ApiError) -> CliError:
    known = as_cli_error(error)
    label = f"{body['kind']} {body['metadata']['name']}"
    hints = list(known.hints)
    if isinstance(error, Conflict):
        hints.append("to take these fields over from whoever set them:  --force-conflicts")
    if isinstance(error, NotFound) and body["kind"] == SERVICE_MONITOR.kind:
        hints.append("the cluster has no Prometheus operator: install it first, or leave out --service-monitor")
    if isinstance(error, Forbidden):
        hints.append("who installs has to have every right that the operator gets: ask an administrator of the cluster")
    return CliError(f"{label}: {known.message}", exit_code=known.exit_code, hints=hints)


async def left_over(api: Api, bodies: Iterable[Object], namespace: str) -> list[Change]:
    """The objects that this installation once had and no longer wants."""
    wanted = {(body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]) for body in bodies}
    return [change for change in await belonging(api, namespace) if _identity(change) not in wanted]


def _identity(change: Change) -> tuple[str, str, str]:
    return change.kind.kind, change.namespace, change.name


async def belonging(api: Api, namespace: str) -> list[Change]:
    """All objects of the installation in this namespace but those that installations share, each to be removed.

    Who may look into the one namespace only sees what is in it.
    """
    found = []
    for kind in OPERATOR_KINDS:
        for one in await _labelled(api, kind, namespace):
            metadata = one["metadata"]
            found.append(Change(kind.into(dict), metadata["name"], metadata.get("namespace", ""), "removed"))
    return found


async def _labelled(api: Api, kind: Kind[Any], namespace: str) -> tuple[Object, ...]:
    selector = instance_selector(namespace)
    for where in ("", namespace) if kind.namespaced else ("",):
        try:
            return (await api.list(kind.into(dict), where, labels=selector)).items
        except NotFound:  # a kind that this cluster does not have
            return ()
        except Forbidden:
            continue
    return ()


async def carry_out(api: Api, changes: Sequence[Change], *, force_conflicts: bool) -> None:
    """Apply what changes, in its order; wait for CRDs to be served before anything follows; remove what goes."""
    definitions: list[str] = []
    with Progress() as progress:
        for change in changes:
            _tell(progress, f"applying {len(changes)} objects")
            if change.kind.kind == CUSTOM_RESOURCE_DEFINITION.kind:
                definitions.append(change.name)
            elif definitions:
                await _established(api, definitions, progress)
                definitions = []
            await _carry_out_one(api, change, force_conflicts=force_conflicts)
        await _established(api, definitions, progress)


def _tell(progress: Progress, message: str) -> None:
    if progress.elapsed > _PATIENCE_SECONDS:
        progress.show(message)


async def _carry_out_one(api: Api, change: Change, *, force_conflicts: bool) -> None:
    if change.verb == "removed":
        await remove(api, change)
    elif change.verb != "unchanged":
        assert change.body is not None, "what is applied has a body"
        await api.apply(change.kind, change.body, owner=FIELD_OWNER, force=force_conflicts)


async def remove(api: Api, change: Change) -> None:
    """Delete the object; gone already is as good."""
    try:
        await api.delete(change.kind, change.name, change.namespace)
    except NotFound:
        return


async def _established(api: Api, names: Sequence[str], progress: Progress) -> None:
    """Wait until the API server serves these CRDs. Raises CliError when it does not come to that."""
    began = progress.elapsed
    waiting = list(names)
    while waiting:
        definition = await api.get(CUSTOM_RESOURCE_DEFINITION, waiting[0])
        conditions = {one["type"]: one for one in (definition.get("status") or {}).get("conditions") or ()}
        if conditions.get("Established", {}).get("status") == "True":
            waiting.pop(0)
            continue
        if progress.elapsed - began > _ESTABLISHED_SECONDS:
            why = conditions.get("NamesAccepted", {}).get("message") or "it does not say why"
            raise CliError(f"the API server does not serve {waiting[0]}: {why}")
        _tell(progress, f"waiting for the API server to serve {waiting[0]}")
        await asyncio.sleep(_POLL_SECONDS)


def show(changes: Sequence[Change], *, dry_run: bool, all_fields: bool) -> None:
    """Print every object and what becomes of it; of what is unchanged only how many there are."""
    suffix = " (dry run)" if dry_run else ""
    for change in changes:
        if change.verb == "unchanged":
            continue
        print(f"{change.label} {change.verb}{suffix}")
        shown = change.fields if all_fields else change.fields[:_FIELDS_SHOWN]
        for one in shown:
            print(f"    {one}")
        if len(shown) < len(change.fields):
            print(f"    and {len(change.fields) - len(shown)} more: --diff shows all")
    if same := sum(change.verb == "unchanged" for change in changes):
        print(f"{same} {'object' if same == 1 else 'objects'} unchanged")
