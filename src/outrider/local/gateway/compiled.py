"""HTTPRoutes read once, so that a request need not: what can be honoured is compiled, what cannot is said."""

from dataclasses import dataclass, field

from outrider.api.labels import DEPLOYMENT
from outrider.kube.objects import BackendRef, Service
from outrider.local.gateway.endpoints import ANY_PORT
from outrider.local.gateway.matching import (
    ANY_HOST,
    Match,
    PathTable,
    Route,
    RouteRule,
    UnsupportedMatchError,
    compile_match,
)
from outrider.local.gateway.pool import WeightedTurns

NO_TIMEOUT = frozenset({"0s", "0m", "0h", "0ms"})
"""How Gateway API says that a request may take as long as it takes: the one timeout that this gateway keeps."""


@dataclass(frozen=True)
class Backend:
    """Where a rule sends a share of its requests."""

    service: str
    """`namespace/name`."""
    port: int
    weight: int
    problem: str = ""
    """Why nothing can ever be sent there; empty when something can."""


@dataclass(eq=False)
class Rule:
    """A rule that requests can be sent by."""

    owner: str
    """In words, for messages: `the HTTPRoute production/chat`."""
    namespace: str
    deployment: str
    """For counting what never reached a pod."""
    backends: tuple[Backend, ...]
    problem: str = ""
    """Why requests that meet this rule are refused; empty when they are not."""
    rewrite: tuple[str, str] | None = None
    """(prefix, replacement): what pods are asked for instead of what begins with the prefix."""
    turns: WeightedTurns = field(init=False)
    active: tuple[int, ...] = field(init=False)
    """Positions of the backends that have a weight and no problem."""

    def __post_init__(self) -> None:
        self.turns = WeightedTurns([backend.weight for backend in self.backends])
        self.active = tuple(
            position
            for position, backend in enumerate(self.backends)
            if backend.weight > 0 and not backend.problem and not self.problem
        )

    def target(self, path: str) -> str:
        """The path to ask a pod for."""
        if self.rewrite is None or not path.startswith(self.rewrite[0]):
            return path
        prefix, replacement = self.rewrite
        return f"{replacement.rstrip('/')}{path[len(prefix) :]}" or "/"


@dataclass(frozen=True)
class CompiledRoute:
    """An HTTPRoute, or a Service that is reached by its name."""

    owner: str
    hostnames: tuple[str, ...]
    age: tuple[str, str]
    """Creation time and key: sorts older routes first, then by the alphabet."""
    rules: tuple[Rule, ...]
    entries: tuple[tuple[Match, Rule], ...]
    paths: PathTable[Rule]
    problems: tuple[str, ...] = ()


def compile_route(route: Route) -> CompiledRoute:
    """Read an HTTPRoute. What this gateway cannot honour is left out and said in `problems`, never done wrongly."""
    meta = route.metadata
    owner = f"the HTTPRoute {meta.key}"
    problems: list[str] = []
    rules: list[Rule] = []
    entries: list[tuple[Match, Rule]] = []
    for number, spec in enumerate(route.spec.rules):
        rewrite, unsupported_filters = _rewrite(spec)
        rule = Rule(
            owner=owner,
            namespace=meta.namespace,
            deployment=meta.labels.get(DEPLOYMENT) or meta.name,
            backends=tuple(_backend(ref, meta.namespace) for ref in spec.backend_refs),
            problem=f"{owner} has {unsupported_filters} in rule {number}, which this gateway does not have"
            if unsupported_filters
            else "",
            rewrite=rewrite,
        )
        rules.append(rule)
        problems += _problems(rule, spec, number)
        for match in spec.matches or ({},):
            try:
                entries.append((compile_match(match), rule))
            except UnsupportedMatchError as unsupported:
                problems.append(f"rule {number}: not supported, and never met: {unsupported}")
    return CompiledRoute(
        owner=owner,
        hostnames=tuple(name.lower() for name in route.spec.hostnames) or (ANY_HOST,),
        age=(meta.creation_timestamp or "", meta.key),
        rules=tuple(rules),
        entries=tuple(entries),
        paths=PathTable(entries),
        problems=tuple(problems),
    )


def direct_route(service: Service) -> CompiledRoute:
    """A Service reached by its own name, as cluster DNS and kube-proxy would have it."""
    meta = service.metadata
    rule = Rule(
        owner=f"the Service {meta.key}",
        namespace=meta.namespace,
        deployment=meta.labels.get(DEPLOYMENT) or meta.name,
        backends=(Backend(meta.key, ANY_PORT, 1),),
    )
    entries = ((compile_match({}), rule),)
    return CompiledRoute(rule.owner, (), ("", meta.key), (rule,), entries, PathTable(entries))


def keep_turns(old: CompiledRoute, new: CompiledRoute) -> None:
    """Whose turn it is survives a change of weights, or frequent changes would always favour the heaviest backend."""
    for before, after in zip(old.rules, new.rules, strict=False):
        if [backend.service for backend in before.backends] == [backend.service for backend in after.backends]:
            after.turns.credit = before.turns.credit


def _backend(ref: BackendRef, namespace: str) -> Backend:
    problem = ""
    if ref.kind != "Service" or ref.group:
        problem = f"backend {ref.name} is of kind {ref.kind}: this gateway sends to Services only"
    elif ref.namespace and ref.namespace != namespace:
        problem = f"backend {ref.name} is in namespace {ref.namespace}: this gateway does not read ReferenceGrants"
    return Backend(f"{ref.namespace or namespace}/{ref.name}", ref.port or ANY_PORT, max(0, ref.weight), problem)


def _rewrite(spec: RouteRule) -> tuple[tuple[str, str] | None, str]:
    """(prefix and what takes its place, what is not supported): of all filters this gateway has one."""
    if not spec.filters:
        return None, ""
    paths = [match.get("path") or {} for match in spec.matches]
    if len(spec.filters) > 1 or len(paths) != 1 or paths[0].get("type", "PathPrefix") != "PathPrefix":
        return None, "filters"
    rewrite = spec.filters[0].get("urlRewrite") or {}
    change = rewrite.get("path") or {}
    if spec.filters[0].get("type") != "URLRewrite" or rewrite.get("hostname"):
        return None, "filters"
    if change.get("type") != "ReplacePrefixMatch":
        return None, "a URLRewrite other than ReplacePrefixMatch"
    return (str(paths[0].get("value", "/")).rstrip("/"), str(change.get("replacePrefixMatch", ""))), ""


def _problems(rule: Rule, spec: RouteRule, number: int) -> list[str]:
    problems = [f"rule {number}: {backend.problem}" for backend in rule.backends if backend.problem]
    if rule.problem:
        problems.append(rule.problem)
    if any(duration not in NO_TIMEOUT for duration in (spec.timeouts or {}).values()):
        problems.append(f"rule {number}: timeouts are not kept by this gateway")
    return problems
