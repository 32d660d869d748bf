"""What can be said about an installation: the options of `outrider install`, and the values of the Helm chart."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from outrider import __version__
from outrider.api.names import subdomain_problem
from outrider.api.urls import is_http_url

DEFAULT_NAMESPACE = "outrider-system"
DEFAULT_IMAGE = f"localhost/outrider:{__version__}"
"""`localhost/` is how podman and buildah name what was built here; nobody else can publish under that name."""

HEALTH_PORT = 8081
METRICS_PORT = 8443


class SettingsError(ValueError):
    """Settings that contradict each other, or cannot be."""


class ResourceNeeds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a pod of the operator asks for, and what it may not exceed, by the names of resources."""

    requests: dict[str, str | int] = msgspec.field(default_factory=lambda: {"cpu": "100m", "memory": "128Mi"})
    limits: dict[str, str | int] = msgspec.field(default_factory=lambda: {"memory": "1Gi"})
    """No CPU limit: a throttled operator is late where it matters."""


class Installation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The settings of one installation. The chart's `values.yaml` is this with its defaults."""

    image: Annotated[str, Meta(min_length=1)] = DEFAULT_IMAGE
    """The operator's image. Build it from the Containerfile and push it to a registry that the nodes can reach."""
    image_pull_policy: Annotated[str, Meta(pattern="^(Always|IfNotPresent|Never)$")] = "IfNotPresent"
    """Always, IfNotPresent or Never."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets in the operator's namespace with which the nodes pull the image."""
    replicas: Annotated[int, Meta(ge=1)] = 2
    """Pods of the operator. One leads, the others take over from it."""
    watch_namespaces: tuple[str, ...] = ()
    """The namespaces to look after. Empty: all of them, with a ClusterRole. Named: a Role in each, and no more."""
    gateway: Annotated[str, Meta(pattern="^([^/]+/[^/]+)?$")] = ""
    """NAMESPACE/NAME of the Gateway that requests come in through. Empty: no HTTPRoutes are written."""
    gateway_inside_url: str = ""
    """The address at which the operator reaches that Gateway, http://HOST:PORT, where it is not the one that people
    use."""
    gateway_metrics: tuple[str, ...] = ()
    """Metrics pages of what implements that Gateway (Traefik), one URL for each of its replicas. What only the front
    door knows of a new version is then evidence too."""
    inference_pool: bool = False
    """Whether the gateway can send requests to InferencePools: the operator may then set up endpoint pickers, and give
    them accounts and roles of their own."""
    arguments: tuple[str, ...] = ()
    """More options of `outrider operator`, as they stand on its command line."""
    crds: bool = True
    """Install the CustomResourceDefinitions, and the roles by which people may use them."""
    cluster_roles: bool = True
    """Without cluster roles (only with watchNamespaces) nobody can be authenticated: there is no metrics endpoint."""
    network_policy: bool = True
    """Let the operator be reached, and reach, only what it needs."""
    service_monitor: bool = False
    """Let the Prometheus operator scrape the operator's metrics. Needs its CRDs."""
    resources: ResourceNeeds = msgspec.field(default_factory=ResourceNeeds)
    """What each pod of the operator asks for."""
    node_selector: dict[str, str] = {}
    """Labels of the nodes that may run the operator."""
    tolerations: tuple[dict[str, Any], ...] = ()
    """Taints that the operator's pods tolerate."""

    @property
    def has_metrics(self) -> bool:
        return self.cluster_roles


def check(settings: Installation) -> None:
    """Raise SettingsError for what the types do not rule out."""
    if not settings.cluster_roles and not settings.watch_namespaces:
        raise SettingsError("without cluster roles, name the namespaces to look after (watchNamespaces)")
    _check_gateway(settings)
    if not settings.cluster_roles and settings.service_monitor:
        raise SettingsError("without cluster roles there is no metrics endpoint for a ServiceMonitor to scrape")
    if len(set(settings.watch_namespaces)) != len(settings.watch_namespaces):
        raise SettingsError("watchNamespaces names a namespace twice")
    for name in (*settings.watch_namespaces, *filter(None, settings.gateway.split("/"))):
        if problem := subdomain_problem(name):
            raise SettingsError(f"{name!r} is no name of a namespace or Gateway: {problem}")


def _check_gateway(settings: Installation) -> None:
    if settings.inference_pool and not settings.gateway:
        raise SettingsError("inferencePool says what the gateway can do: name it (gateway)")
    if settings.gateway_inside_url and not settings.gateway:
        raise SettingsError("gatewayInsideUrl is a way to the gateway: name it (gateway)")
    if settings.gateway_inside_url and not is_http_url(settings.gateway_inside_url):
        raise SettingsError(f"gatewayInsideUrl: {settings.gateway_inside_url!r} is not http://HOST:PORT")
    if settings.gateway_metrics and not settings.gateway:
        raise SettingsError("gatewayMetrics is what the gateway counts: name it (gateway)")
    if wrong := [url for url in settings.gateway_metrics if not is_http_url(url) or "," in url]:
        several = "; name several pages one by one, without commas" if "," in wrong[0] else ""
        raise SettingsError(f"gatewayMetrics: {wrong[0]!r} is not http://HOST:PORT/PATH{several}")
