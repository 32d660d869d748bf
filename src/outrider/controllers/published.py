"""The operator's settings as it publishes them, so that `outrider plan` plans as the operator does."""

from typing import Any

import msgspec

from outrider.api.labels import FIELD_OWNER, MANAGED_BY, MANAGED_BY_VALUE
from outrider.kube.api import Api, NotFound
from outrider.kube.objects import CONFIG_MAP
from outrider.plan.deployment.snapshot import PlanConfig

CONFIG_MAP_NAME = "outrider-operator"
SYSTEM_NAMESPACE = "outrider-system"
_KEY = "plan.json"


async def publish(api: Api, config: PlanConfig, namespace: str = SYSTEM_NAMESPACE) -> None:
    """Write what the operator plans with into a ConfigMap. It holds no secrets."""
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP_NAME, "namespace": namespace, "labels": {MANAGED_BY: MANAGED_BY_VALUE}},
        "data": {_KEY: msgspec.json.encode(config).decode()},
    }
    await api.apply(CONFIG_MAP, body, owner=FIELD_OWNER)


async def published(api: Api, namespace: str = SYSTEM_NAMESPACE) -> PlanConfig:
    """What the operator of this cluster plans with; the defaults where none has published anything."""
    try:
        found = await api.get(CONFIG_MAP, CONFIG_MAP_NAME, namespace)
    except NotFound:
        return PlanConfig()
    return msgspec.json.decode(found.data.get(_KEY, "{}"), type=PlanConfig)
