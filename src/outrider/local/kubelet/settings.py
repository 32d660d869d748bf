"""The kubelet's own times and sizes. The defaults are those of Kubernetes' kubelet; tests use smaller ones."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times are seconds."""

    backoff_first: float = 10.0
    """Wait before the second restart in a row (the first is immediate); doubles with each one after that."""
    backoff_max: float = 300.0
    backoff_reset: float = 600.0
    """A container that ran for so long starts counting anew."""
    config_retry: float = 2.0
    """How often a missing ConfigMap or Secret, or a GPU that is still taken, is looked for again."""
    probe_until_ready: float = 0.2
    """Pause between probes until the first success, so that a rollout does not cost a whole period per pod."""
    gpu_interval: float = 1.0
    """How often it is looked whether the node's GPUs are well."""
    lease_interval: float = 10.0
    lease_duration: int = 40
    heartbeat_interval: float = 300.0
    """How often the node's conditions are renewed when nothing changed."""
    log_bytes: int = 10 * 1024 * 1024
    """A log file that has grown to this size is put aside."""
    log_files: int = 5
    """How many log files of one run are kept, the current one included."""
    stop_grace: float = 10.0
    """When the kubelet ends with its pods: at most so long from SIGTERM to SIGKILL."""
