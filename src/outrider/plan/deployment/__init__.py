"""What to do about an LLMDeployment: `plan(snapshot, now) -> Plan`, pure."""

from outrider.plan.deployment.plan import desired, plan
from outrider.plan.deployment.snapshot import Snapshot

__all__ = ["Snapshot", "desired", "plan"]
