"""What is concluded, and why."""

from typing import Literal

import msgspec

Kind = Literal["Watching", "RollBack", "Hold", "Good"]

ERRORS_WORSE = "ErrorsWorse"
REJECTIONS_WORSE = "RejectionsWorse"
LATENCY_WORSE = "LatencyWorse"
STALLED = "Stalled"
GATEWAY_FAILURES_WORSE = "GatewayFailuresWorse"
TRIGGER_FIRED = "TriggerFired"
ALL_RECENT_FAILED = "AllRecentFailed"
CRASH_LOOPING = "CrashLooping"
NO_ENDPOINTS_LEFT = "NoEndpointsLeft"
PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
"""Why a candidate is rolled back."""

SHARED_INCIDENT = "SharedIncident"
STALE_DATA = "StaleData"
NODE_FAULT = "NodeFault"
ONE_POD_ONLY = "OnePodOnly"
PODS_DIFFER = "PodsDiffer"
UNREACHABLE_THROUGH_GATEWAY = "UnreachableThroughGateway"
INCONCLUSIVE = "Inconclusive"
"""Why nothing is done. `AwaitingRequests` too, once the bake time is over."""

AWAITING_PODS = "AwaitingPods"
AWAITING_REQUESTS = "AwaitingRequests"
AWAITING_TIME = "AwaitingTime"
"""What is awaited."""

NOT_WORSE = "NotWorse"
"""Why a candidate is good."""


class Verdict(msgspec.Struct, frozen=True):
    kind: Kind
    reason: str
    """One of the constants above."""
    message: str
    """One sentence for people, with the numbers."""
    evidence: dict[str, float] = {}
    """The numbers for machines: `errors.candidate.bad`, `wealth` (a rollback needs 1 / alpha), `always_valid_p`."""
