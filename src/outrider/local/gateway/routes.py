"""The routing table: built from Kubernetes objects as they change, asked once per request.

A change costs as much as the objects that it concerns; a request costs a few look-ups.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from outrider.api.labels import DEPLOYMENT, MODEL_VERSION, REVISION
from outrider.api.meta import ObjectMeta
from outrider.api.names import service_name
from outrider.kube.objects import Service
from outrider.local.gateway.compiled import CompiledRoute, Rule, compile_route, direct_route, keep_turns
from outrider.local.gateway.endpoints import EndpointTable
from outrider.local.gateway.matching import ANY_HOST, PathTable, Route, host_candidates
from outrider.local.gateway.pool import Endpoint

CLUSTER_SUFFIXES = (".svc.cluster.local", ".svc")


class ServiceNameStatus(msgspec.Struct, frozen=True, rename="camel"):
    service_name: str = ""


class DeploymentName(msgspec.Struct, frozen=True, rename="camel"):
    """Of an LLMDeployment only its name and its Service's."""

    metadata: ObjectMeta = ObjectMeta()
    status: ServiceNameStatus = ServiceNameStatus()


@dataclass(frozen=True)
class Found:
    rule: Rule
    path: str
    """The path to ask the pod for: without `/NAMESPACE/NAME` where the request came by the path form."""


@dataclass(frozen=True)
class Identity:
    """Whose request it was, for counting."""

    namespace: str
    deployment: str
    revision: str = ""
    version: str = ""


class RoutingTable:
    """Every `put_` may be repeated, and every `remove_` be of what is not there; objects may arrive in any order.

    Services, EndpointSlices and pods go into `endpoints`; a Service also comes here, to be reached by its name.
    """

    def __init__(self) -> None:
        self.endpoints = EndpointTable()
        self._routes: dict[str, CompiledRoute] = {}
        self._sources: dict[str, Route] = {}
        self._hosts: dict[str, PathTable[Rule]] = {}
        self._routes_of_host: dict[str, set[str]] = {}
        self._direct: dict[str, CompiledRoute] = {}
        self._deployments: dict[str, str] = {}

    # What is asked for each request

    def find(self, host: str, path: str, method: str, headers: Mapping[str, str]) -> Found | None:
        """The rule that a request meets, or None.

        It is looked for by host name (HTTPRoutes' own, then the names that cluster DNS would have), then by the path
        form `/NAMESPACE/NAME/...`, and last among the routes that name no host. `path` begins with `/`, without query.
        """
        for candidate in host_candidates(host):
            paths = self._hosts.get(candidate)
            rule = paths.find(path, method, headers) if paths is not None else None
            if rule is not None:
                return Found(rule, rule.target(path))
        named = self._by_dns_name(host)
        rule = named.paths.find(path, method, headers) if named is not None else None
        return Found(rule, rule.target(path)) if rule is not None else self._by_path(path, method, headers)

    def choose(self, rule: Rule, avoid: Collection[Endpoint] = ()) -> Endpoint | None:
        """Where the next request of a rule goes: a backend by weight, among those with a ready endpoint, then the
        endpoint with the fewest requests in flight. None when no backend has one.

        Unlike Traefik, which answers 503 for the share of a backend without endpoints, that share goes to the others.
        """
        picked: dict[int, Endpoint] = {}
        for position in rule.active:
            backend = rule.backends[position]
            pool = self.endpoints.pool(backend.service, backend.port)
            endpoint = pool.pick(avoid) if pool is not None else None
            if endpoint is not None:
                picked[position] = endpoint
        return picked[rule.turns.next(tuple(picked))] if picked else None

    def identity(self, rule: Rule, endpoint: Endpoint | None) -> Identity:
        """Whose request it is: what the pod's labels say, else what the route says."""
        labels = self.endpoints.labels_of_pod(endpoint.pod_uid) if endpoint is not None else {}
        return Identity(
            namespace=rule.namespace,
            deployment=labels.get(DEPLOYMENT) or rule.deployment,
            revision=labels.get(REVISION, ""),
            version=labels.get(MODEL_VERSION, ""),
        )

    def why_none(self, rule: Rule) -> str:
        """The sentence for a request that no endpoint can take."""
        if rule.problem:
            return rule.problem
        if not rule.backends:
            return f"{rule.owner} has no backend"
        weighted = [backend for backend in rule.backends if backend.weight]
        if not weighted:
            return f"all backends of {rule.owner} have weight 0"
        reasons = [backend.problem or self.endpoints.why_not(backend.service, backend.port) for backend in weighted]
        return f"no endpoint is ready: {'; '.join(dict.fromkeys(reasons))}"

    def by_name(self, key: str) -> CompiledRoute | None:
        """What `namespace/name` names: an HTTPRoute, a Service, or an LLMDeployment by its Service, in this order."""
        found = self._routes.get(key) or self._direct.get(key)
        if found is None and key in self._deployments:
            service = self._deployments[key]
            found = self._routes.get(service) or self._direct.get(service)
        return found

    # What changes it

    def put_route(self, route: Route) -> None:
        key = route.metadata.key
        before, old = self._sources.get(key), self._routes.get(key)
        if before is not None and (before.spec, before.metadata.labels) == (route.spec, route.metadata.labels):
            return  # a change of its status
        compiled = compile_route(route)
        if old is not None:
            keep_turns(old, compiled)
        self._sources[key], self._routes[key] = route, compiled
        self._rehost(key, old.hostnames if old is not None else (), compiled.hostnames)

    def remove_route(self, key: str) -> None:
        self._sources.pop(key, None)
        old = self._routes.pop(key, None)
        if old is not None:
            self._rehost(key, old.hostnames, ())

    def put_service(self, service: Service) -> None:
        self.endpoints.put_service(service)
        self._direct[service.metadata.key] = direct_route(service)

    def remove_service(self, key: str) -> None:
        self.endpoints.remove_service(key)
        self._direct.pop(key, None)

    def put_deployment(self, deployment: DeploymentName) -> None:
        meta = deployment.metadata
        self._deployments[meta.key] = f"{meta.namespace}/{deployment.status.service_name or service_name(meta.name)}"

    def remove_deployment(self, key: str) -> None:
        self._deployments.pop(key, None)

    # For people

    def known(self) -> list[str]:
        """How every service can be reached, one line each: host names, and the path form."""
        lines = []
        for key, route in sorted(self._routes.items()):
            if all(rule.rewrite is not None for rule in route.rules):
                continue  # by path, as every service can be reached
            hosts = ", ".join(route.hostnames) if route.hostnames != (ANY_HOST,) else "any host"
            lines.append(f"/{key}/ (hosts: {hosts})")
        return lines + [f"/{key}/" for key in sorted(self._direct.keys() - self._routes.keys())]

    def describe(self) -> list[dict[str, Any]]:
        """All routes with their backends, ready endpoints and requests in flight, as JSON for people and tests."""
        routes = {**self._direct, **self._routes}
        return [
            {
                "name": key,
                "hostnames": list(route.hostnames),
                "problems": list(route.problems),
                "rules": [
                    {"backends": [self._describe(rule, at) for at in range(len(rule.backends))]} for rule in route.rules
                ],
            }
            for key, route in sorted(routes.items())
        ]

    def _describe(self, rule: Rule, position: int) -> dict[str, Any]:
        backend = rule.backends[position]
        pool = self.endpoints.pool(backend.service, backend.port)
        return {
            "service": backend.service,
            "weight": backend.weight,
            "endpoints": [
                {
                    "url": endpoint.base_url,
                    "revision": self.identity(rule, endpoint).revision,
                    "inFlight": endpoint.in_flight,
                }
                for endpoint in (pool.members() if pool is not None else ())
            ],
        }

    def _by_dns_name(self, host: str) -> CompiledRoute | None:
        for suffix in CLUSTER_SUFFIXES:
            host = host.removesuffix(suffix)
        name, dot, namespace = host.rpartition(".")
        return self.by_name(f"{namespace}/{name}") if dot else None

    def _by_path(self, path: str, method: str, headers: Mapping[str, str]) -> Found | None:
        """A route's own word about a path counts more than the form that this gateway knows by itself."""
        paths = self._hosts.get(ANY_HOST)
        anywhere = paths.find(path, method, headers) if paths is not None else None
        if anywhere is not None and anywhere.rewrite is not None:
            return Found(anywhere, anywhere.target(path))
        segments = path.split("/", 3)
        named = self.by_name(f"{segments[1]}/{segments[2]}") if len(segments) >= 3 else None
        if named is not None:
            rest = f"/{segments[3]}" if len(segments) == 4 else "/"
            rule = named.paths.find(rest, method, headers)
            if rule is not None:
                return Found(rule, rest)
        return Found(anywhere, path) if anywhere is not None else None

    def _rehost(self, key: str, before: Collection[str], after: Collection[str]) -> None:
        for host in before:
            self._routes_of_host[host].discard(key)
        for host in after:
            self._routes_of_host.setdefault(host, set()).add(key)
        for host in {*before, *after}:
            routes = sorted((self._routes[owner] for owner in self._routes_of_host[host]), key=lambda route: route.age)
            if routes:
                self._hosts[host] = PathTable(entry for route in routes for entry in route.entries)
            else:
                del self._routes_of_host[host], self._hosts[host]
