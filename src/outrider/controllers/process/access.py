"""Who may read metrics: the API server is asked who a token is, and whether RBAC lets it `get` `/metrics`.

Like controller-runtime's secured metrics: `TokenReview`, then `SubjectAccessReview` on the non-resource URL. Answers
are remembered as long as there: a token for a minute, a permission for five, a refusal for half of one.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Literal, TypeVar

import structlog

from outrider.kube.api import Api, ApiError, Kind, Object
from outrider.kube.clock import Clock

TOKEN_SECONDS = 60.0
UNKNOWN_TOKEN_SECONDS = 10.0
ALLOWED_SECONDS = 300.0
DENIED_SECONDS = 30.0
MOST_REMEMBERED = 1000
"""Answers of each kind; a scraper needs one."""

TOKEN_REVIEW: Kind[Object] = Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", False, dict)
ACCESS_REVIEW: Kind[Object] = Kind(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", False, dict
)

Verdict = Literal["allowed", "unauthenticated", "forbidden", "unknown"]
"""`unknown`: the API server could not be asked."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class _Memory(Generic[T]):
    """Answers, each for its time; the same question from several at once is asked once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, key: str, ask: Callable[[], Awaitable[T]], seconds: Callable[[T], float]) -> T:
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                known = self._answers.get(key)
                if known is not None and known[0] > self._clock.monotonic():
                    return known[1]
                answer = await ask()
                self._answers[key] = (self._clock.monotonic() + seconds(answer), answer)
                self._answers.move_to_end(key)
                while len(self._answers) > MOST_REMEMBERED:
                    self._answers.popitem(last=False)
                return answer
        finally:
            if not lock.locked():
                self._locks.pop(key, None)


class MetricsAccess:
    """Decides who may `get` the path."""

    def __init__(self, api: Api, clock: Clock, path: str = "/metrics") -> None:
        self._api = api
        self._path = path
        self._users: _Memory[Object | None] = _Memory(clock)
        self._decisions: _Memory[bool] = _Memory(clock)

    async def judge(self, authorization: str) -> Verdict:
        """What is to be said to a request with this `Authorization` header."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return "unauthenticated"
        key = hashlib.sha256(token.strip().encode()).hexdigest()  # no secret is kept
        try:
            user = await self._users.get(
                key, lambda: self._who_is(token.strip()), lambda user: TOKEN_SECONDS if user else UNKNOWN_TOKEN_SECONDS
            )
            if user is None:
                return "unauthenticated"
            allowed = await self._decisions.get(
                key, lambda: self._may(user), lambda yes: ALLOWED_SECONDS if yes else DENIED_SECONDS
            )
        except ApiError as error:
            log.warning("cannot ask the API server who reads metrics", error=f"{type(error).__name__}: {error}")
            return "unknown"
        return "allowed" if allowed else "forbidden"

    async def _who_is(self, token: str) -> Object | None:
        body = {"apiVersion": TOKEN_REVIEW.api_version, "kind": TOKEN_REVIEW.kind, "spec": {"token": token}}
        status = (await self._api.create(TOKEN_REVIEW, body)).get("status") or {}
        return (status.get("user") or {}) if status.get("authenticated") else None

    async def _may(self, user: Object) -> bool:
        spec: dict[str, Any] = {
            "nonResourceAttributes": {"path": self._path, "verb": "get"},
            "user": user.get("username", ""),
            "uid": user.get("uid", ""),
            "groups": user.get("groups") or [],
            "extra": user.get("extra") or {},
        }
        body = {"apiVersion": ACCESS_REVIEW.api_version, "kind": ACCESS_REVIEW.kind, "spec": spec}
        status = (await self._api.create(ACCESS_REVIEW, body)).get("status") or {}
        return bool(status.get("allowed")) and not status.get("denied")
