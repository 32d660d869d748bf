"""`outrider apply`: create or change objects from manifests."""

import asyncio
from dataclasses import dataclass, replace
from typing import Annotated, Any

from cyclopts import Parameter

from outrider.api.labels import CLI_FIELD_OWNER
from outrider.api.names import LABEL_LENGTH
from outrider.api.words import closest
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import CliError, Exit, all_of, as_cli_error
from outrider.cli.manifests import Found, Manifest, find_manifests, namespace_of
from outrider.cli.objects import kind_of_manifest
from outrider.cli.output import NameOrData, print_structured, without_managed_fields
from outrider.cli.waiting import check_timeout, rolled_back, wait_until_ready
from outrider.kube.api import BadRequest, Conflict, Forbidden, Invalid, Kind, NotFound, Object
from outrider.kube.objects import NAMESPACE
from outrider.kube.resources import LLM_DEPLOYMENT


@dataclass(frozen=True)
class Checked:
    """A manifest that may be sent."""

    manifest: Manifest
    kind: Kind[Any]
    body: Object
    notes: tuple[str, ...]


def apply(
    *,
    filename: Annotated[list[str], Parameter(alias="-f", allow_leading_hyphen=True, negative="")],
    wait: bool = False,
    timeout: str | None = None,
    dry_run: bool = False,
    output: Annotated[NameOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Create or change objects from manifests.

    Every manifest is checked before the first one is sent: either all are good, or nothing is changed.
    Fields that Outrider does not know are kept and reported, never dropped.

    Parameters
    ----------
    filename
        File or folder with manifests, or - for standard input. May be repeated.
    wait
        Wait until every LLMDeployment in the manifests is Ready.
    timeout
        How long to wait at most, such as 90s or 10m. Default: 600s, and what the steps of the release take.
    dry_run
        Let the server check everything and change nothing.
    output
        table, name, json or yaml.
    """
    check_timeout(timeout)
    found = find_manifests(filename)
    return asyncio.run(_apply(found, wait=wait, timeout=timeout, dry_run=dry_run, output=output, cluster=cluster))


async def _apply(
    found: Found, *, wait: bool, timeout: str | None, dry_run: bool, output: NameOrData, cluster: Cluster | None
) -> int:
    async with connect(cluster) as connection:
        explicit = cluster.namespace if cluster else None
        checked, refused = sorted_out(found, connection.namespace, explicit)
        if len(checked) > 1 or refused:  # one alone is refused as it is sent
            refused += await _refused_by_server(connection, checked)
        if refused:
            raise all_of(refused, f"of {_count(len(found.manifests) + len(found.refused), 'manifest')}")
        results = [await _apply_one(connection, item, dry_run=dry_run, output=output) for item in checked]
        if output in ("json", "yaml"):
            items = [without_managed_fields(result) for result in results]
            print_structured(
                items[0] if len(items) == 1 else {"apiVersion": "v1", "kind": "List", "items": items}, output
            )
        if wait and not dry_run:
            waiting = [item.body["metadata"] for item in checked if item.kind == LLM_DEPLOYMENT]
            for metadata in waiting:
                await wait_until_ready(
                    connection.api, metadata["name"], metadata["namespace"], timeout=timeout, lost=rolled_back
                )
    return Exit.OK


def sorted_out(
    found: Found, default_namespace: str, explicit_namespace: str | None
) -> tuple[list[Checked], list[CliError]]:
    """What every manifest means (see `check_manifest`), and those that are refused, when they were read or now."""
    checked, refused = [], list(found.refused)
    first: dict[tuple[str, str, str, str], str] = {}
    for manifest in found.manifests:
        try:
            item = check_manifest(manifest, default_namespace, explicit_namespace)
        except CliError as error:
            refused.append(error)
            continue
        metadata = item.body["metadata"]
        same = (item.kind.group, item.kind.plural, metadata.get("namespace", ""), metadata["name"])
        if same in first:
            note = f"warning: {manifest.source} is the same object as {first[same]}: the one that comes last stays"
            item = replace(item, notes=(*item.notes, note))
        first.setdefault(same, manifest.source)
        checked.append(item)
    return checked, refused


def check_all(found: Found, default_namespace: str, explicit_namespace: str | None) -> list[Checked]:
    """What every manifest means: see `check_manifest`.

    Raises:
        CliError: some are refused; tells all.
    """
    checked, refused = sorted_out(found, default_namespace, explicit_namespace)
    if refused:
        raise all_of(refused, f"of {_count(len(checked) + len(refused), 'manifest')}")
    return checked


async def _refused_by_server(connection: Connection, checked: list[Checked]) -> list[CliError]:
    """What the server says against each manifest, before the first one is sent, so that no half of them is applied."""
    coming = {item.manifest.name for item in checked if item.kind == NAMESPACE}
    refused = []
    for item in checked:
        if item.body["metadata"].get("namespace") in coming:
            continue  # nothing can be asked about a namespace that is only about to be
        try:
            await connection.api.apply(item.kind.into(dict), item.body, owner=CLI_FIELD_OWNER, dry_run=True)
        except (BadRequest, Conflict, Forbidden, Invalid, NotFound) as error:
            known = as_cli_error(error)
            message = f"{item.manifest.source}: {known.message}"
            refused.append(CliError(message, exit_code=known.exit_code, hints=known.hints))
    return refused


def check_manifest(manifest: Manifest, default_namespace: str, explicit_namespace: str | None) -> Checked:
    """What the manifest means, with its namespace filled in, and what to tell the user about it.

    Raises:
        CliError: the kind is unknown, the namespace contradicts `--namespace`, or the spec has errors: all are shown.
    """
    kind = kind_of_manifest(manifest)
    metadata = dict(manifest.body["metadata"])
    if kind.namespaced:
        metadata["namespace"] = namespace_of(manifest, kind, default_namespace, explicit_namespace)
    body = {**manifest.body, "metadata": metadata}
    body.pop("status", None)
    notes = _check_spec(manifest, body) if kind == LLM_DEPLOYMENT else ()
    return Checked(manifest=manifest, kind=kind, body=body, notes=notes)


def _check_spec(manifest: Manifest, body: Object) -> tuple[str, ...]:
    from outrider.api.parse import parse_spec

    metadata = body["metadata"]
    parsed = parse_spec(
        body.get("spec", {}),
        name=metadata["name"],
        namespace=metadata["namespace"],
        annotations=metadata.get("annotations") or {},
        labels=metadata.get("labels") or {},
    )
    strange = _strange_fields(body)
    meant = dict(parsed.meant)
    if parsed.errors:
        misspelt = [f"{path}: is no field: did you mean {word}?" for path, word in (*strange, *parsed.meant) if word]
        raise CliError(
            f"{manifest.source}: LLMDeployment {_cut(metadata['name'])!r} has {_count(len(parsed.errors), 'error')}",
            exit_code=Exit.INVALID,
            hints=(*map(str, parsed.errors), *misspelt),
        )
    notes = [f"warning: {warning}" for warning in parsed.warnings]
    if strange:
        notes.append(f"warning: no fields of an object, dropped by the server: {_listed(dict(strange))}")
    if parsed.ignored:
        ignored = {path: meant.get(path, "") for path in parsed.ignored}
        notes.append(f"ignored (unknown to this version, kept in the object): {_listed(ignored)}")
    if parsed.not_acted_on:
        notes.append(f"accepted, not acted on by this version: {', '.join(parsed.not_acted_on)}")
    return tuple(notes)


def _strange_fields(body: Object) -> list[tuple[str, str]]:
    """What stands beside `spec` and is no field of an LLMDeployment, and the field that may be meant, if any."""
    known = ("apiVersion", "kind", "metadata", "spec", "status")
    return [(key, closest(key, known)) for key in body if key not in known]


def _listed(paths: dict[str, str]) -> str:
    return ", ".join(f"{path} (did you mean {word}?)" if word else path for path, word in paths.items())


def _cut(name: str) -> str:
    return name if len(name) <= LABEL_LENGTH else f"{name[: LABEL_LENGTH - 3]}..."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


async def _apply_one(connection: Connection, item: Checked, *, dry_run: bool, output: NameOrData) -> Object:
    metadata = item.body["metadata"]
    raw = item.kind.into(dict)
    try:
        before = await connection.api.get(raw, metadata["name"], metadata.get("namespace", ""))
    except NotFound:
        before = None
    result: Object = await connection.api.apply(raw, item.body, owner=CLI_FIELD_OWNER, dry_run=dry_run)
    if output in ("table", "name"):
        label = item.kind.singular + (f".{item.kind.group}" if item.kind.group else "")
        verb = _verb(before, result, dry_run=dry_run)
        print(f"{label}/{metadata['name']}" if output == "name" else f"{label}/{metadata['name']} {verb}", flush=True)
    if output == "table":
        for note in item.notes:
            print(f"  {note}")
    return result


def _verb(before: Object | None, after: Object, *, dry_run: bool) -> str:
    suffix = " (dry run)" if dry_run else ""
    if before is None:
        return "created" + suffix
    changed = _wanted(before) != _wanted(after)
    return ("configured" if changed else "unchanged") + suffix


def _wanted(item: Object) -> Object:
    """The part of an object that a manifest says, without what the cluster adds."""
    metadata = item["metadata"]
    content = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    return {**content, "labels": metadata.get("labels", {}), "annotations": metadata.get("annotations", {})}
