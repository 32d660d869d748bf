"""A Gateway for plans, and what its controller writes about routes."""

from typing import Any

from plan_world import PlanWorld


def gateway(addresses: list[str] | None = None, **listener: Any) -> dict[str, Any]:
    """A Gateway that its controller runs."""
    return {
        "metadata": {"name": "front", "namespace": "infra"},
        "spec": {"listeners": [{"name": "web", "port": 80, "protocol": "HTTP"} | listener]},
        "status": {
            "addresses": [{"value": address} for address in addresses or []],
            "conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed"}],
        },
    }


def say(made: PlanWorld, route: str, **conditions: tuple[str, str]) -> None:
    """What the Gateway's controller writes into the route's status: type -> (status, reason)."""
    body = made.objects["HTTPRoute", route]
    generation = body["metadata"]["generation"]
    body["status"] = {
        "parents": [
            {
                "parentRef": {"name": "front", "namespace": "infra"},
                "controllerName": "example.com/controller",
                "conditions": [
                    {
                        "type": kind, "status": status, "reason": reason, "message": "because",
                        "observedGeneration": generation,
                    }
                    for kind, (status, reason) in conditions.items()
                ],
            }
        ]
    }  # fmt: skip


ACCEPTED = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
