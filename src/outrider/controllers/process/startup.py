"""What has to be so before the operator can begin, and what to do where it is not."""

from collections.abc import Iterable, Sequence

import structlog

from outrider.kube.api import ApiError, Forbidden, NotFound, Unauthorized, Unavailable
from outrider.kube.clock import Clock
from outrider.kube.http import HttpApi
from outrider.kube.informer import Informer

RETRY_SECONDS = 2.0

log = structlog.get_logger(__name__)


class StartupFailed(Exception):
    """The operator cannot work like this. `hints` say what to do."""

    def __init__(self, message: str, hints: Sequence[str] = (), *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hints = tuple(hints)
        self.unreachable = unreachable
        """Whether it is the API server that is not there, or does not let us in."""


async def check_cluster(api: HttpApi, informers: Iterable["Informer[object]"], clock: Clock, patience: float) -> None:
    """Return once the API server answers and lets the operator read all it needs.

    Raises `StartupFailed` when it cannot be reached for `patience` seconds, refuses our credentials, lacks our kinds,
    or forbids something.
    """
    await _until_reachable(api, clock, patience)
    missing: list[str] = []
    forbidden: list[str] = []
    for informer in informers:
        try:
            await api.raw("GET", informer.kind.path(informer.namespace), params={"limit": "1"})
        except NotFound:
            if not informer.optional:
                missing.append(f"{informer.kind.plural}.{informer.kind.group}")
        except Forbidden as error:
            forbidden.append(error.message)
        except ApiError as error:  # what is only for now is left to the caches, which try again
            log.warning("cannot list", kind=informer.kind.kind, error=f"{type(error).__name__}: {error}")
    if missing:
        raise StartupFailed(
            f"the cluster at {api.config.server} does not know {', '.join(missing)}",
            ("install the custom resource definitions:  outrider install",),
        )
    if forbidden:
        raise StartupFailed(
            f"the operator's account may not read what it needs ({api.config.source})",
            (*forbidden, "give it the operator's role:  outrider install"),
        )


async def _until_reachable(api: HttpApi, clock: Clock, patience: float) -> None:
    deadline = clock.monotonic() + patience
    while True:
        try:
            await api.raw("GET", "/version")
        except Unauthorized as error:
            raise StartupFailed(error.message, unreachable=True) from error
        except Forbidden:  # somebody took /version from everybody; it answers, though
            return
        except (Unavailable, ApiError) as error:
            if clock.monotonic() >= deadline:
                raise StartupFailed(error.message, unreachable=True) from error
            log.warning("waiting for the API server", error=str(error))
            await clock.sleep(RETRY_SECONDS)
        else:
            return
