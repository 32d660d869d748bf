"""The operator as the local world runs it."""

from outrider.controllers.operator import GatewayConfig, Operator, OperatorConfig
from outrider.kube.api import Api
from outrider.kube.clock import SystemClock
from outrider.local.world import GATEWAY_NAME, SYSTEM_NAMESPACE


def local_config(gateway_url: str) -> OperatorConfig:
    """The operator's settings in a local world: routes go to its gateway, and URLs lead there."""
    return OperatorConfig(gateway=GatewayConfig(name=GATEWAY_NAME, namespace=SYSTEM_NAMESPACE, base_url=gateway_url))


async def local_operator(api: Api, gateway_url: str) -> None:
    """Run the operator against the local world until cancelled."""
    await Operator(api, SystemClock(), local_config(gateway_url)).run()
