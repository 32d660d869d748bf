"""Endpoints and which of them is next: the one with the fewest requests in flight, ties in turn; and whose turn it is
among weighted backends.

Nothing here looks at all endpoints to serve a request: choosing, beginning and ending one cost the same for two pods
and for two hundred.
"""

from collections.abc import Collection, Iterable, Sequence


class Endpoint:
    """One address of one pod. Requests in flight are counted here, however many Services the pod is behind."""

    __slots__ = ("__weakref__", "address", "base_url", "in_flight", "pod_uid", "pools", "port")

    def __init__(self, address: str, port: int, pod_uid: str) -> None:
        self.address = address
        self.port = port
        self.pod_uid = pod_uid
        """Empty where the slice names no pod."""
        host = f"[{address}]" if ":" in address else address
        self.base_url = f"http://{host}:{port}"
        self.in_flight = 0
        self.pools: list[Pool] = []
        """The pools that it is in now: none once it is not ready, though requests may still be in flight."""

    def begin(self) -> None:
        """A request goes there."""
        self._count(1)

    def end(self) -> None:
        """A request that `begin` counted is over."""
        self._count(-1)

    def _count(self, change: int) -> None:
        before, self.in_flight = self.in_flight, self.in_flight + change
        for pool in self.pools:
            pool.moved(self, before)

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url})"


class Pool:
    """The ready endpoints of one port of one Service, in levels by requests in flight.

    A level is in order of arrival, and who has just served arrives last: so ties go round.
    """

    __slots__ = ("_levels", "_lowest", "_members")

    def __init__(self) -> None:
        self._members: dict[Endpoint, None] = {}
        self._levels: dict[int, dict[Endpoint, None]] = {}
        self._lowest = 0

    def __len__(self) -> int:
        return len(self._members)

    def members(self) -> tuple[Endpoint, ...]:
        return tuple(self._members)

    def replace(self, endpoints: Iterable[Endpoint]) -> None:
        """From now on exactly these are ready. Those that stay keep their turn."""
        wanted = dict.fromkeys(endpoints)
        for endpoint in self.members():
            if endpoint not in wanted:
                del self._members[endpoint]
                self._leave(endpoint, endpoint.in_flight)
                endpoint.pools.remove(self)
        for endpoint in wanted:
            if endpoint not in self._members:
                self._members[endpoint] = None
                self._levels.setdefault(endpoint.in_flight, {})[endpoint] = None
                endpoint.pools.append(self)
        self._lowest = min(self._levels, default=0)

    def pick(self, avoid: Collection[Endpoint] = ()) -> Endpoint | None:
        """The endpoint with the fewest requests in flight that is not to be avoided; None when there is none."""
        if not self._members:
            return None
        if not avoid:
            return next(iter(self._levels[self._lowest]))
        for level in sorted(self._levels):
            for endpoint in self._levels[level]:
                if endpoint not in avoid:
                    return endpoint
        return None

    def moved(self, endpoint: Endpoint, before: int) -> None:
        """The endpoint's requests in flight changed by one from `before`."""
        self._levels.setdefault(endpoint.in_flight, {})[endpoint] = None
        self._leave(endpoint, before)
        if endpoint.in_flight < self._lowest or self._lowest not in self._levels:
            self._lowest = endpoint.in_flight  # if it emptied the lowest level, it is itself one above

    def _leave(self, endpoint: Endpoint, level: int) -> None:
        members = self._levels[level]
        del members[endpoint]
        if not members:
            del self._levels[level]


class WeightedTurns:
    """Smooth weighted round robin (as nginx has it): over each round of as many turns as the weights add up to, every
    backend has exactly as many turns as its weight says, and they are spread evenly.
    """

    __slots__ = ("_weights", "credit")

    def __init__(self, weights: Sequence[int], credit: Sequence[int] | None = None) -> None:
        self._weights = tuple(weights)
        self.credit = list(credit) if credit is not None else [0] * len(self._weights)
        """What each is owed: kept when weights change, so that frequent changes do not favour the first."""

    def next(self, able: Sequence[int]) -> int:
        """Whose turn it is, among the positions that are able to serve. Raises `ValueError` when `able` is empty."""
        if len(able) == 1:
            return able[0]
        total = 0
        for position in able:
            weight = self._weights[position]
            self.credit[position] += weight
            total += weight
        chosen = max(able, key=self.credit.__getitem__)
        self.credit[chosen] -= total
        return chosen
