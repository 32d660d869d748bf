"""Which optional kinds the cluster has: custom resources that somebody may have installed, or may install later.

The answer is asked for at the start and every few minutes, with one small GET for each API group (every account may ask
this: ClusterRole `system:discovery`). Reconciles only look at it, so it costs them nothing. It is not watched: to
watch CustomResourceDefinitions needs a right on the whole cluster, which an operator of one namespace does not have.
"""

from collections.abc import Callable, Iterable
from typing import Any

import structlog

from outrider.kube.api import Api, ApiError, Kind
from outrider.kube.clock import Clock

INTERVAL = 300.0
"""Seconds between looks. It is how long a new CustomResourceDefinition may stay unnoticed."""
RETRY = 15.0
"""Seconds until the next look while something is not known yet."""

log = structlog.get_logger(__name__)


class Discovery:
    """Knows which of `kinds` the cluster has. `on_change` is told whenever one came or went."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        kinds: Iterable[Kind[Any]],
        *,
        interval: float = INTERVAL,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._kinds = tuple(kinds)
        self._interval = interval
        self._on_change = on_change
        self._known: dict[Kind[Any], bool] = {}
        self.last_error = ""
        """What kept the last look from being whole; empty when nothing did."""

    def has(self, kind: Kind[Any]) -> bool | None:
        """Whether the cluster has the kind; None while that could not be asked."""
        return self._known.get(kind)

    async def look(self) -> None:
        """Ask once. What cannot be asked stays as it was known."""
        before, self.last_error = dict(self._known), ""
        for api_version in dict.fromkeys(kind.api_version for kind in self._kinds):
            try:
                served = await self._api.served(api_version)
            except ApiError as error:
                self.last_error = f"{api_version}: {error}"
                continue
            self._known |= {kind: kind.kind in served for kind in self._kinds if kind.api_version == api_version}
        if self._known != before:
            self._on_change()

    async def run(self) -> None:
        """Look again and again, until cancelled; at once only if nobody has looked yet."""
        if not self._known:
            await self.look()
        while True:
            if self.last_error:
                log.warning("cannot ask which kinds there are", error=self.last_error)
            await self._clock.sleep(self._interval if len(self._known) == len(self._kinds) else RETRY)
            await self.look()
