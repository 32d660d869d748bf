"""What of Outrider a cluster has already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outrider.cli.connection import Connection
from outrider.cli.errors import CliError, Exit
from outrider.kube.api import Api, Forbidden, Kind, NotFound, Object
from outrider.kube.installed import CUSTOM_RESOURCE_DEFINITION
from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, NAMESPACE
from outrider.plan.install.downgrade import Loss, losses
from outrider.plan.install.manifests import RECORD, recorded
from outrider.plan.install.objects import COMPONENT, INSTANCE, NAME, OPERATOR, PART_OF, PART_OF_VALUE, VERSION
from outrider.plan.install.settings import Installation, SettingsError

FIELD_OWNER = "outrider-install"
"""The server-side-apply field owner of an installation."""
_HELM_RELEASE = "meta.helm.sh/release-name"


@dataclass(frozen=True)
class Found:
    """An installation as it is in the cluster."""

    namespace: str
    namespace_exists: bool = False
    deployment: Object | None = None
    settings: Installation | None = None
    """As they were recorded; None where nobody recorded any."""
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Namespaces of other installations, and the namespaces that each looks after (none: all)."""

    @property
    def version(self) -> str:
        """The version that is installed; empty where none is."""
        if self.deployment is None:
            return ""
        return str(self.deployment["metadata"].get("labels", {}).get(VERSION, "unknown"))

    @property
    def helm_release(self) -> str:
        """Name of the Helm release that it belongs to, empty for none."""
        metadata = (self.deployment or {"metadata": {}})["metadata"]
        return str(metadata.get("annotations", {}).get(_HELM_RELEASE, ""))

    @property
    def image(self) -> str:
        assert self.deployment is not None
        return str(self.deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def refuse_local_world(connection: Connection) -> None:
    """Raise CliError where the cluster is a local world, which runs an operator of its own."""
    if connection.world is not None:
        raise CliError(
            f"{connection.description} runs the operator itself: there is nothing to install",
            exit_code=Exit.USAGE,
            hints=("to install into a cluster, name it:  export KUBECONFIG=... (or --kubeconfig, --context)",),
        )


async def look(api: Api, namespace: str) -> Found:
    """What there is of an installation in this namespace.

    Raises:
        ApiError: the cluster does not let itself be asked.
    """
    deployment = await _get(api, DEPLOYMENT, NAME, namespace)
    exists = await _get(api, NAMESPACE, namespace, "") is not None
    return Found(
        namespace=namespace,
        namespace_exists=exists,
        deployment=deployment,
        settings=await _recorded(api, namespace),
        elsewhere=await _elsewhere(api, namespace),
    )


async def _get(api: Api, kind: Kind[Any], name: str, namespace: str) -> Object | None:
    try:
        return await api.get(kind.into(dict), name, namespace)
    except NotFound:
        return None


async def _recorded(api: Api, namespace: str) -> Installation | None:
    found = await _get(api, CONFIG_MAP, RECORD, namespace)
    if found is None:
        return None
    try:
        return recorded(found.get("data") or {})
    except SettingsError as error:
        raise CliError(f"configmap {RECORD} in namespace {namespace} holds no settings: {error}") from error


async def _elsewhere(api: Api, namespace: str) -> dict[str, tuple[str, ...]]:
    selector = f"{PART_OF}={PART_OF_VALUE},{COMPONENT}={OPERATOR}"
    try:
        listed = await api.list(DEPLOYMENT.into(dict), "", labels=selector)
    except Forbidden:  # who may look into one namespace only is told of that one only
        return {}
    return {
        one["metadata"]["namespace"]: _watched(one) for one in listed.items if one["metadata"]["namespace"] != namespace
    }


def _watched(deployment: Object) -> tuple[str, ...]:
    arguments: Sequence[str] = deployment["spec"]["template"]["spec"]["containers"][0].get("args") or ()
    option = "--watch-namespaces="
    return tuple(
        name
        for argument in arguments
        if argument.startswith(option)
        for name in argument.removeprefix(option).split(",")
    )


def refuse_second_operator(found: Found, settings: Installation) -> None:
    """Raise CliError where another installation would look after the same LLMDeployments."""
    for namespace, theirs in found.elsewhere.items():
        both = set(theirs) & set(settings.watch_namespaces)
        if theirs and settings.watch_namespaces and not both:
            continue
        what = f"the namespaces {', '.join(sorted(both))}" if both else "LLMDeployments that this one would"
        raise CliError(
            f"the operator in namespace {namespace} looks after {what}: two would undo each other's work",
            exit_code=Exit.CONFLICT,
            hints=(
                f"change that one:  outrider upgrade --namespace {namespace}",
                f"or take it away:  outrider uninstall --namespace {namespace}",
                "or let each look after namespaces of its own:  --watch-namespaces A,B",
            ),
        )


def refuse_helm(found: Found, command: str) -> None:
    """Raise CliError where the installation is Helm's, which would undo what is done behind its back."""
    if found.helm_release:
        raise CliError(
            f"this installation belongs to the Helm release {found.helm_release!r}",
            exit_code=Exit.CONFLICT,
            hints=(f"use Helm:  helm {command} {found.helm_release} --namespace {found.namespace}",),
        )


async def lost_fields(api: Api, wanted: Sequence[Object]) -> list[Loss]:
    """What the CRDs among the wanted objects would lose of those that are installed."""
    found = []
    for body in wanted:
        if body["kind"] == CUSTOM_RESOURCE_DEFINITION.kind:
            installed = await _get(api, CUSTOM_RESOURCE_DEFINITION, body["metadata"]["name"], "")
            if installed is not None:
                found += losses(installed, body)
    return found


def instance_selector(namespace: str) -> str:
    """Selects the objects of the installation in this namespace, and none that installations share."""
    return f"{PART_OF}={PART_OF_VALUE},{COMPONENT}={OPERATOR},{INSTANCE}={namespace}"
