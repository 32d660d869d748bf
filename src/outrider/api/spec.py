"""The typed spec of an LLMDeployment, in the one form that the rest of the code sees.

`parse.parse_spec` makes it: aliases are folded in, defaults applied, what depends on several fields resolved. The
CRD's schema is generated from these types (`schema.py`), and docstrings of fields become its descriptions.
"""

import msgspec

from outrider.api import catalog
from outrider.api.spec_model import Model, NotNegative, Resources, Serving
from outrider.api.spec_operations import (
    AnyObject,
    Autoscaling,
    Backup,
    Disruption,
    Monitoring,
    Release,
    Rollback,
    RolloutStrategy,
    Scaling,
    Scheduling,
    Stage,
)
from outrider.api.spec_pod import (
    ContainerObject,
    MountObject,
    PodSettings,
    Runtime,
    SecretReference,
    Security,
    Template,
    VolumeObject,
)

__all__ = ["LLMDeploymentSpec", "Model", "PodSettings", "Release", "Resources", "Rollback", "RolloutStrategy", "Stage"]


class LLMDeploymentSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What people ask for of an LLM service."""

    model: Model = Model()
    """What is served."""
    resources: Resources = Resources()
    """What a replica needs. Default: from the size of the model's weights."""
    replicas: NotNegative | None = None
    """How many replicas; with autoscaling on, from `minReplicas` to `maxReplicas`. Default: `minReplicas`, or 1."""
    autoscaling: Autoscaling = Autoscaling()
    scaling: Scaling = Scaling()
    scheduling: Scheduling = Scheduling()
    monitoring: Monitoring = Monitoring()
    backup: Backup = Backup()
    rollback: Rollback = Rollback()
    deployment: Release = Release()
    serving: Serving = Serving()
    disruption: Disruption = Disruption()
    runtime: Runtime = Runtime()
    template: Template = Template()
    containers: tuple[ContainerObject, ...] = ()
    """Containers beside the engine. One without an image adds its `env` and `volumeMounts` to the engine's."""
    volumes: tuple[VolumeObject, ...] = ()
    volume_mounts: tuple[MountObject, ...] = ()
    image_pull_secrets: tuple[SecretReference, ...] = ()
    startup_probe: AnyObject = {}
    liveness_probe: AnyObject = {}
    readiness_probe: AnyObject = {}
    security: Security = Security()

    @property
    def desired_replicas(self) -> int:
        """How many replicas there should be: `replicas`, within autoscaling's bounds where that is on."""
        if not self.autoscaling.enabled:
            return 1 if self.replicas is None else self.replicas
        if self.replicas is None:
            return self.autoscaling.minimum
        return min(max(self.replicas, self.autoscaling.minimum), self.autoscaling.maximum)

    @property
    def stage(self) -> Stage:
        return self.deployment.stage or "development"

    @property
    def tensor_parallel_size(self) -> int:
        """GPUs that share each layer: as written, else all the GPUs of a replica (`nvidia.com/gpu: "2"`)."""
        written = self.model.parallelism.tensor
        if written is not None and self.resources.gpus > 0:
            return written
        copies = self.model.parallelism.pipeline * self.model.parallelism.data
        return max(self.resources.gpus // copies, 1)

    @property
    def progress_deadline_seconds(self) -> int:
        """How long a release may go without progress, in seconds: as written, else by the size of the weights."""
        return self.deployment.progress_deadline_seconds or self.start_seconds

    @property
    def workload_deadline_seconds(self) -> int:
        """The same for a Deployment, in seconds: never shorter than what one pod may take to load."""
        return max(self.progress_deadline_seconds, self.start_seconds)

    @property
    def start_seconds(self) -> int:
        """How long one pod may take to load its model, in seconds: what the startup probe must allow."""
        return catalog.start_seconds(self.model.weights_bytes)

    @property
    def disruption_budget(self) -> dict[str, int | str]:
        """The one field that a PodDisruptionBudget takes: `{"maxUnavailable": 1}` or `{"minAvailable": ...}`."""
        if self.disruption.max_unavailable is None and self.disruption.min_available is not None:
            return {"minAvailable": self.disruption.min_available}
        return {"maxUnavailable": 1 if self.disruption.max_unavailable is None else self.disruption.max_unavailable}

    @property
    def pod(self) -> PodSettings:
        """All that goes into the pods as it is."""
        engine = [container for container in self.containers if adjusts_engine(container)]
        return PodSettings(
            env=tuple(msgspec.to_builtins(self.runtime.env)) + _collect(engine, "env"),
            volumes=self.volumes,
            volume_mounts=self.volume_mounts + _collect(engine, "volumeMounts"),
            sidecars=tuple(container for container in self.containers if container not in engine),
            image_pull_secrets=tuple(msgspec.to_builtins(self.image_pull_secrets)),
            node_selector=self.scheduling.node_selector,
            tolerations=self.scheduling.tolerations,
            affinity=self.scheduling.affinity,
            labels=self.template.metadata.labels | self.monitoring.labels,
            annotations=self.template.metadata.annotations,
            startup_probe=self.startup_probe,
            liveness_probe=self.liveness_probe,
            readiness_probe=self.readiness_probe,
            pod_security_context=self.security.pod_context(),
            container_security_context=self.security.container_context(),
            shared_memory=self.model.loading.use_shared_memory or self.tensor_parallel_size > 1,
        )


ENGINE_CONTAINER = "model-server"
"""Name of the engine's container in every pod."""
ENGINE_ADJUSTMENTS = ("name", "env", "volumeMounts")
"""What a container without an image may say about the engine's."""


def adjusts_engine(container: AnyObject) -> bool:
    """Whether an entry of `containers` is about the engine's own container: it has its name, or no image to run."""
    return container.get("name") == ENGINE_CONTAINER or not container.get("image")


def _collect(containers: list[AnyObject], key: str) -> tuple[AnyObject, ...]:
    return tuple(item for container in containers for item in container.get(key) or ())
