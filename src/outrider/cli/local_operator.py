"""The operator as the local world runs it."""

from outrider.controllers.operator import GatewayConfig, Operator, OperatorConfig
from outrider.controllers.published import publish
from outrider.kube.api import Api
from outrider.kube.clock import SystemClock
from outrider.local.settings import GATEWAY_NAME, SYSTEM_NAMESPACE

_PROBE_SECONDS = 5.0
_DRAIN_SECONDS = 2
"""The local gateway learns of a terminating pod within milliseconds; two seconds are ample."""


def local_config(gateway_url: str, gateway: GatewayConfig | None = None, *, inside_url: str = "") -> OperatorConfig:
    """The operator's settings in a local world: routes go to its gateway, and URLs lead there.

    With another `gateway` of the cluster they go to that one, and pods drain for as long as gateways in general need.
    `inside_url` is where the operator reaches the gateway, where that is not `gateway_url`.
    """
    if gateway is not None:
        return OperatorConfig(gateway=gateway, probe_interval=_PROBE_SECONDS)
    return OperatorConfig(
        gateway=GatewayConfig(
            name=GATEWAY_NAME,
            namespace=SYSTEM_NAMESPACE,
            base_url=gateway_url,
            inside_url=inside_url,
            metrics_urls=(f"{inside_url or gateway_url}/-/metrics",),
        ),
        probe_interval=_PROBE_SECONDS,
        drain_seconds=_DRAIN_SECONDS,
    )


async def local_operator(
    api: Api, gateway_url: str, *, gateway: GatewayConfig | None = None, inside_url: str = ""
) -> None:
    """Run the operator against the local world until cancelled."""
    config = local_config(gateway_url, gateway, inside_url=inside_url)
    await publish(api, config.for_plans(), SYSTEM_NAMESPACE)
    await Operator(api, SystemClock(), config).run()
