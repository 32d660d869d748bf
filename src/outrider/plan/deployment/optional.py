"""Fields of the spec that need something which a cluster may not have."""

from outrider.api.spec_operations import STEPWISE
from outrider.plan.deployment import fleet
from outrider.plan.deployment.picker import Picker
from outrider.plan.deployment.snapshot import Snapshot

SCHEDULER = "spec.scheduling.scheduler"
SERVICE_MONITOR = "spec.monitoring.serviceMonitor"
STRATEGY = "spec.deployment.rolloutStrategy"


def without_effect(snapshot: Snapshot, picker: Picker) -> dict[str, str]:
    """Those that are written and have no effect, as they are written, with the reason.

    What is not known now stays as it was said before.
    """
    said = snapshot.deployment.status.ignored_fields
    found = {}
    for line, path in snapshot.parsed.conditional:
        missing = _missing(line, snapshot, picker)
        if missing or (missing is None and path in said):
            found[path] = missing or "it is not known whether the cluster can do it"
    return found


def _missing(line: str, snapshot: Snapshot, picker: Picker) -> str | None:
    """What the field lacks; empty when nothing, None when nobody knows."""
    if line == SCHEDULER:
        if picker.reason == "Unknown" or (picker.reason == "NotAsked" and snapshot.parsed.spec is None):
            return None
        return "" if picker.routed or not picker.asked else picker.message
    if line == STRATEGY:
        spec = snapshot.parsed.spec
        beside = spec is not None and spec.deployment.rollout_strategy in STEPWISE
        if not beside or fleet.is_stepwise(snapshot):
            return ""
        return "with an endpoint picker releases are rolling updates: its pool of pods is one, and knows no weights"
    has = snapshot.kinds.service_monitors
    if has is None:
        return None
    return "" if has else "this cluster has no ServiceMonitor (monitoring.coreos.com/v1)"
