"""How soon a service could be back on the version before: warm while its pods are loaded, else cold."""

import math
from statistics import median

from outrider.plan.deployment import fleet
from outrider.plan.deployment.snapshot import Snapshot

WARM_SECONDS = 10.0
"""For the traffic to move: proxies take over changed endpoints every few seconds (Traefik every 2 s)."""


def readiness(snapshot: Snapshot, revision: str, wanted: int) -> tuple[str, float | None, str]:
    """(Warm or Cold, estimated seconds, why). Cold is estimated by what the pods that are there took to load."""
    loaded = fleet.ready(snapshot, revision)
    if wanted and loaded >= wanted:
        pods = "its pod is" if loaded == 1 else f"its {loaded} pods are"
        return "Warm", WARM_SECONDS, f"{pods} loaded, and only the traffic has to move."
    took = [
        pod.loaded_at - pod.created
        for pod in snapshot.pods
        if pod.alive and pod.loaded_at is not None and pod.created is not None and not pod.restarts
    ]
    if not took:
        return "Cold", None, "its pods would have to load the model anew."
    seconds = 10 * math.ceil((median(took) + WARM_SECONDS) / 10)
    return "Cold", float(seconds), f"its pods would have to load the model anew, which takes about {seconds} s."
