"""The objects that Outrider wrote, as they are observed: enough to see whether they still are what was wanted."""

from typing import Any

import msgspec

from outrider.api.meta import Condition

APPLIED_HASH = "inference.llm-d.io/applied-hash"
"""Annotation with the hash of the whole body that was applied last. It spares writes; it is not state: an object
that has lost it is applied once more, to the same effect."""


class ChildView(msgspec.Struct, frozen=True):
    uid: str = ""
    applied_hash: str = ""
    owned: bool = True
    """Whether this LLMDeployment is its controller, so that it may be written to."""


class WorkloadView(ChildView, frozen=True):
    """The Deployment."""

    generation: int = 0
    observed_generation: int = 0
    spec_replicas: int = 0
    template: dict[str, Any] = {}
    max_surge: int | str | None = None
    max_unavailable: int | str | None = None
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class ServiceView(ChildView, frozen=True):
    name: str = ""
    selector: dict[str, str] = {}
    ports: tuple[tuple[str, int, str], ...] = ()
    """(name, port, target port)"""


class BackendView(msgspec.Struct, frozen=True):
    name: str
    port: int | None = None
    weight: int = 1


class RouteView(ChildView, frozen=True):
    hostnames: tuple[str, ...] = ()
    backends: tuple[BackendView, ...] = ()


class BudgetView(ChildView, frozen=True):
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: dict[str, str] = {}
