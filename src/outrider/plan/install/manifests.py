"""All objects of an installation, in the order in which they are applied."""

from collections.abc import Mapping
from typing import Any

import msgspec

from outrider.api.crd import KINDS, crd
from outrider.plan.install.network import network_policy
from outrider.plan.install.objects import api_object, operator_object
from outrider.plan.install.roles import operator_roles, people_roles
from outrider.plan.install.settings import Installation, SettingsError, check
from outrider.plan.install.workload import (
    deployment,
    disruption_budget,
    metrics_service,
    service_account,
    service_monitor,
)

RECORD = "outrider-installation"
"""ConfigMap with the settings, each as JSON, so that an upgrade keeps them."""


def crds() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions."""
    return [_labelled_crd(known.kind) for known in KINDS]


def _labelled_crd(kind: str) -> dict[str, Any]:
    definition = crd(kind)
    shared = api_object(definition["apiVersion"], definition["kind"], definition["metadata"]["name"])
    return shared | {"spec": definition["spec"]}


def operator_objects(settings: Installation, namespace: str) -> list[dict[str, Any]]:
    """What runs the operator, without its namespace."""
    made = [service_account(namespace), *operator_roles(settings, namespace)]
    if settings.network_policy:
        made.append(network_policy(settings, namespace))
    if settings.has_metrics:
        made.append(metrics_service(namespace))
    made += [disruption_budget(namespace), deployment(settings, namespace)]
    if settings.service_monitor:
        made.append(service_monitor(namespace))
    return made


def namespace_object(namespace: str) -> dict[str, Any]:
    """The operator's namespace, in which only restricted pods may run."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }


def record(settings: Installation, namespace: str) -> dict[str, Any]:
    """The settings, as an upgrade reads them. It holds no secrets."""
    made = operator_object("v1", "ConfigMap", namespace, RECORD, where=namespace)
    values: dict[str, Any] = msgspec.to_builtins(settings)
    return made | {"data": {name: msgspec.json.encode(value).decode() for name, value in values.items()}}


def recorded(data: Mapping[str, str]) -> Installation:
    """The settings that a record's data holds.

    What another version knew and this one does not is passed over: the difference that an upgrade shows says what it
    did.

    Raises:
        SettingsError: it holds none.
    """
    known = {info.encode_name for info in msgspec.structs.fields(Installation)}
    try:
        values = {name: msgspec.json.decode(text) for name, text in data.items() if name in known}
        return msgspec.convert(values, Installation)
    except msgspec.MsgspecError as error:
        raise SettingsError(str(error)) from error


def api_objects() -> list[dict[str, Any]]:
    """What all installations of a cluster share, and no uninstallation takes away by itself."""
    return [*crds(), *people_roles()]


def manifests(settings: Installation, namespace: str) -> list[dict[str, Any]]:
    """Everything, in the order in which it is applied.

    Raises:
        SettingsError: the settings contradict each other.
    """
    check(settings)
    shared = api_objects() if settings.crds else []
    return [
        namespace_object(namespace),
        *shared,
        record(settings, namespace),
        *operator_objects(settings, namespace),
    ]
