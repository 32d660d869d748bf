"""The part of an LLMDeployment's spec that says how it is operated: scale, releases, rollback, monitoring, backup."""

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from outrider.api.duration import Duration
from outrider.api.fields import (
    INT32,
    CountOrPercent,
    DurationField,
    FallbackField,
    LabelValue,
    MoneyField,
    trigger_in,
    words,
)
from outrider.api.trigger import Trigger

Stage = Literal["poc", "development", "staging", "production"]
STAGES = ("poc", "development", "staging", "production")
RolloutStrategy = Literal["RollingUpdate", "Canary", "BlueGreen", "Recreate"]
ROLLOUT_STRATEGIES = ("RollingUpdate", "Canary", "BlueGreen", "Recreate")
STEPWISE = frozenset({"Canary", "BlueGreen"})
"""The strategies that run the new version beside the old one."""
Indicator = Literal["errorRate", "latencyP95", "throughput"]
INDICATORS: tuple[Indicator, ...] = get_args(Indicator)

Count = Annotated[int, Meta(ge=1, le=INT32)]
NotNegative = Annotated[int, Meta(ge=0, le=INT32)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Cron = Annotated[
    str,
    Meta(
        pattern=r"^[^ \t]+([ \t]+[^ \t]+){4}$",
        max_length=100,
        description='must be five fields: minute, hour, day of month, month, day of week, for example "0 2 * * *"',
    ),
]
"""Five fields: minute, hour, day of month, month, day of week."""
AnyObject = dict[str, Any]
"""Passed on as it is."""


class Autoscaling(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = False
    min_replicas: NotNegative | None = None
    """Replicas that always run. Default: 1."""
    max_replicas: NotNegative | None = None
    """Default: `minReplicas`, and at least 1."""
    target_gpu_utilization: Annotated[int, Meta(ge=1, le=100)] = msgspec.field(name="targetGPUUtilization", default=70)
    """Percent of GPU utilisation to scale by."""
    behavior: AnyObject = {}
    scale_down_delay: DurationField = Duration.of_seconds(300)
    prefill_scaling: AnyObject = {}
    decode_scaling: AnyObject = {}

    @property
    def minimum(self) -> int:
        return 1 if self.min_replicas is None else self.min_replicas

    @property
    def maximum(self) -> int:
        return max(self.minimum, 1) if self.max_replicas is None else self.max_replicas


class ScalingConstraints(msgspec.Struct, frozen=True, rename="camel"):
    min_replicas: NotNegative | None = None
    max_replicas: NotNegative | None = None
    max_cost_per_hour: MoneyField | None = None
    max_cost_per_request: MoneyField | None = None
    max_latency_p95: float | str | None = msgspec.field(name="maxLatencyP95", default=None)
    min_throughput: float | str | None = None


class Scaling(msgspec.Struct, frozen=True, rename="camel"):
    mode: str = ""
    constraints: ScalingConstraints = ScalingConstraints()


class Objective(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    """`request_latency_p95`, `cost_per_request`, `availability` or `tokens_per_second`."""
    target: str | float
    """`500ms`, `$0.001`, `99.9%`, `150`."""
    weight: Annotated[float, Meta(ge=0)] = 1.0
    window: DurationField = Duration.of_seconds(300)


class SloPolicy(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = False
    objectives: tuple[Objective, ...] = ()
    scaling: AnyObject = {}


class Scheduling(msgspec.Struct, frozen=True, rename="camel"):
    scheduler: str = ""
    """The scheduler of *requests* (endpoint picker), for example `llm-d-inference-scheduler`; never one of pods."""
    priority_class_name: str = ""
    """PriorityClass of the pods: what may push out what when GPUs are short. It has to exist."""
    slo_policy: SloPolicy = SloPolicy()
    node_selector: dict[str, LabelValue] = {}
    tolerations: tuple[AnyObject, ...] = ()
    affinity: AnyObject = {}


class AlertRule(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    condition: str
    """For example `p95_latency > 1000ms`."""
    severity: str = "warning"


class Alerting(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = False
    channels: tuple[str, ...] = ()
    rules: tuple[AlertRule, ...] = ()


class MetricsEndpoint(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = True
    port: Port = 8081
    path: str = "/metrics"
    detailed: bool = False


class ServiceMonitor(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = True
    interval: DurationField = Duration.of_seconds(30)


class Logging(msgspec.Struct, frozen=True, rename="camel"):
    level: str = ""
    format: str = ""


class Tracing(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = False
    sampling_rate: Annotated[float, Meta(ge=0, le=1)] | None = None
    endpoint: str = ""


class Monitoring(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = True
    alerting: Alerting = Alerting()
    metrics: MetricsEndpoint = MetricsEndpoint()
    service_monitor: ServiceMonitor = ServiceMonitor()
    labels: dict[str, LabelValue] = {}
    """Labels of the pods, for whoever selects targets by them."""
    logging: Logging = Logging()
    tracing: Tracing = Tracing()
    memory_threshold: str | float | None = None


class Backup(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = False
    schedule: Cron = "0 2 * * *"
    """When, in UTC, as a cron expression of five fields."""
    retention: DurationField = Duration.of_seconds(30 * 86_400)


class RollbackTrigger(msgspec.Struct, frozen=True):
    """One line of `triggers`: an indicator and the comparison that asks for a rollback."""

    indicator: Indicator
    trigger: Trigger


class WrittenTriggers(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of the list as people write it: `errorRate: ">1%"`."""

    error_rate: Annotated[Trigger, trigger_in("%", example=">1%")] | None = None
    latency_p95: Annotated[Trigger, trigger_in("ms", "s", example=">1000ms")] | None = msgspec.field(
        name="latencyP95", default=None
    )
    throughput: Annotated[Trigger, trigger_in("tokens/sec", example="<10 tokens/sec")] | None = None


class AutoRollback(msgspec.Struct, frozen=True, rename="camel"):
    """When a version is taken back by itself: when it is worse than the one before it, for which chance is no
    explanation; or, where none is there to compare it with, when a trigger says that it is bad.
    """

    enabled: bool = False
    """Whether a bad release is taken back by itself. Default: false; then it is only said that it is bad."""
    triggers: Annotated[tuple[WrittenTriggers, ...], Meta(max_length=50)] = ()
    """Any of them asks for a rollback: `errorRate: ">1%"`, `latencyP95: ">1000ms"`, `throughput: "<10 tokens/sec"`."""
    window: DurationField = Duration.of_seconds(60)
    """The time over which the indicators are taken, and for which the first new replicas serve beside the old ones
    before the rest are replaced. Default: 60s."""
    min_requests: NotNegative = 20
    """Fewer requests than this in a window say nothing. Default: 20."""
    consecutive: Count = 2
    """How many windows in a row have to be bad. Default: 2."""
    bake_time: DurationField = Duration.of_seconds(1800)
    """How long a release serves before it counts as verified. Default: 1800s."""
    cooldown: DurationField = Duration.of_seconds(1800)
    """How long after a rollback no other one begins by itself. Default: 1800s."""
    mode: Annotated[Literal["auto", "recommend"], words("auto", "recommend")] = "auto"
    """`auto` rolls back; `recommend` only says that it would. Default: auto."""

    @property
    def rules(self) -> tuple[RollbackTrigger, ...]:
        """The triggers as pairs of indicator and comparison, in the order in which they are written."""
        found = []
        for entry in self.triggers:
            pairs: tuple[tuple[Indicator, Trigger | None], ...] = (
                ("errorRate", entry.error_rate),
                ("latencyP95", entry.latency_p95),
                ("throughput", entry.throughput),
            )
            found += [RollbackTrigger(indicator, trigger) for indicator, trigger in pairs if trigger is not None]
        return tuple(found)


class Rollback(msgspec.Struct, frozen=True, rename="camel"):
    """How to go back to a version that worked: by hand (`outrider rollback`) at any time, or by itself."""

    enabled: bool = True
    """Rollback is always possible: false changes nothing."""
    previous_versions: Annotated[tuple[FallbackField, ...], Meta(max_length=50)] = ()
    """Fallbacks, best first. Default: from the deployment's own history."""
    standby: DurationField = Duration.of_seconds(900)
    """How long after a canary or blue-green release the old version stays loaded, so that going back takes seconds. Its
    GPUs stay in use. Default: 900s."""
    auto_rollback: AutoRollback = AutoRollback()


class RollingUpdate(msgspec.Struct, frozen=True, rename="camel"):
    """As an apps/v1 Deployment has it. Defaults suit models: never fewer replicas than wanted, one more at a time."""

    max_surge: CountOrPercent = 1
    max_unavailable: CountOrPercent = 0


class CanaryStep(msgspec.Struct, frozen=True, rename="camel"):
    weight: Annotated[int, Meta(ge=0, le=100)]
    """Percent of the traffic."""
    duration: DurationField = Duration.of_seconds(600)


class Canary(msgspec.Struct, frozen=True, rename="camel"):
    """More and more of the traffic goes to the new version, as long as it is no worse than the old one."""

    steps: Annotated[tuple[CanaryStep, ...], Meta(max_length=101)] = ()
    """Each step has a larger weight than the one before. After the last one all traffic goes to the new version.
    Default: 10 % for 600s, then 50 % for 1800s."""


class BlueGreen(msgspec.Struct, frozen=True, rename="camel"):
    """The new version is brought up beside the old one, tried without traffic, and then takes all of it at once."""

    preview_duration: DurationField = Duration.of_seconds(60)
    """How long the new version has to answer Outrider's own requests before it takes the traffic. Default: 60s."""
    auto_promotion: bool = True
    """Whether it takes the traffic by itself; else `outrider rollout promote` says when. Default: true."""


class Release(msgspec.Struct, frozen=True, rename="camel"):
    """`spec.deployment`: which stage this is, and how a new version replaces the old one."""

    stage: Annotated[Stage, words(*STAGES)] | None = None
    """`poc`, `development`, `staging` or `production`. Default: annotation, label, or the namespace."""
    rollout_strategy: Annotated[RolloutStrategy, words(*ROLLOUT_STRATEGIES)] = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()
    canary: Canary = Canary()
    blue_green: BlueGreen = BlueGreen()
    approval: AnyObject = {}
    progress_deadline_seconds: Count | None = None
    """How long a release may go without progress. Default: from the size of the weights, at least 600."""


class Disruption(msgspec.Struct, frozen=True, rename="camel"):
    """The PodDisruptionBudget, which takes one of the two; `maxUnavailable: 1` where neither is given."""

    max_unavailable: CountOrPercent | None = None
    min_available: CountOrPercent | None = None
