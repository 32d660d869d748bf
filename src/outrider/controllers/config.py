"""What an operator is told when it starts."""

from dataclasses import dataclass, field

from outrider.plan.deployment.snapshot import PlanConfig


@dataclass(frozen=True)
class GatewayConfig:
    """The Gateway that requests come in through."""

    name: str
    namespace: str = ""
    """Empty: in each LLMDeployment's own namespace."""
    base_url: str = ""
    """Its address as people outside see it; `status.url` is then `BASE_URL/NAMESPACE/SERVICE`. Empty: the address that
    the Gateway's own status tells."""
    inside_url: str = ""
    """The same address as the operator itself reaches it, for requests of its own through the Gateway. Empty: the one
    that people use."""
    metrics_urls: tuple[str, ...] = ()
    """The metrics pages of what implements it, one for each replica: what only the front door knows of a version."""
    request_timeout: str = PlanConfig().request_timeout
    """`timeouts.request` of the routes; `0s` is none. Empty: not written."""
    inference_pool: bool = False
    """Whether it sends requests to InferencePools."""
    picker_tls: bool = PlanConfig().picker_tls
    """Whether it expects TLS of endpoint pickers."""


@dataclass(frozen=True)
class OperatorConfig:
    engine_image: str = PlanConfig().engine_image
    """Container image of the engine where the spec names none."""
    picker_image: str = PlanConfig().picker_image
    """Container image of endpoint pickers."""
    gateway: GatewayConfig | None = None
    """None: no HTTPRoutes are written, and Services are the way in."""
    drain_seconds: int = PlanConfig().drain_seconds
    shutdown_seconds: int = PlanConfig().shutdown_seconds
    namespaces: tuple[str, ...] = ()
    """The namespaces to look after; empty: all."""
    probe_interval: float = 10.0
    """Seconds between real requests to each ready pod. An answer counts for three intervals."""
    monitor_labels: dict[str, str] = field(default_factory=dict)
    """Labels of ServiceMonitors, where a Prometheus chooses them by label, such as `release: kube-prometheus-stack`."""
    gpu_price_per_hour: float | None = None
    """US dollars for one GPU whose node label says no product that the catalogue has a price of."""
    concurrency: int = 4
    """LLMDeployments that are reconciled at the same time."""
    identity: str = "outrider"
    """Name of this process in events: the pod's name, in a cluster."""
    headers: dict[str, str] = field(default_factory=dict)
    """Added to probes, such as an `authorization` that the engines ask for."""

    def for_plans(self) -> PlanConfig:
        """The part that decides about plans."""
        gateway = self.gateway or GatewayConfig(name="")
        return PlanConfig(
            engine_image=self.engine_image,
            gateway_name=gateway.name,
            gateway_namespace=gateway.namespace,
            base_url=gateway.base_url,
            request_timeout=gateway.request_timeout,
            inference_pool=gateway.inference_pool,
            picker_image=self.picker_image,
            picker_tls=gateway.picker_tls,
            monitor_labels=self.monitor_labels,
            drain_seconds=self.drain_seconds,
            shutdown_seconds=self.shutdown_seconds,
            probe_freshness=3 * self.probe_interval + 5.0,
            gpu_price_per_hour=self.gpu_price_per_hour,
        )
